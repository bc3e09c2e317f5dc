"""Which column depends on which: the spanning tree of the most mutual information (Chow and Liu, 1968)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.conditional import ConditionalTable, fit_conditional
from synth_ops.generators.relational_trees.learning.context import coarse, information_beyond_chance
from synth_ops.generators.relational_trees.model import AnyBlock
from synth_ops.generators.relational_trees.names import COLUMN
from synth_ops.generators.relational_trees.tree import Codes

_ROWS = 20_000
_BINS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ChowLiuBlocks:
    """Tables that see one variable each.

    Attributes:
        alpha: See `conditional.fit_conditional`.
    """

    alpha: float
    known: Mapping[str, AnyBlock] = field(default_factory=dict)

    def order(
        self,
        names: Sequence[str],
        free: Collection[str],
        variables: Mapping[str, Variable],
        pool: Mapping[str, Variable],
    ) -> Sequence[str]:
        """Each next the one that shares most with anything drawn so far: Prim's way to the spanning tree."""
        ordered = [name for name in names if name.startswith(COLUMN) and name not in free]
        binned = {name: _binned(variables[name]) for name in names if name in free}
        best = dict.fromkeys(binned, 0.0)
        for other in (*pool.values(), *(variables[name] for name in ordered)):
            codes = _binned(other)
            best = {name: max(found, information_beyond_chance(codes, binned[name])) for name, found in best.items()}
        while best:
            name = max(best, key=lambda each: best[each])
            del best[name]
            ordered.append(name)
            best = {
                each: max(found, information_beyond_chance(binned[name], binned[each])) for each, found in best.items()
            }
        return [*ordered, *(name for name in names if name not in ordered)]

    def choose(
        self,
        target: Variable,
        pool: Mapping[str, Variable],
        generator: np.random.Generator,  # noqa: ARG002
    ) -> Sequence[str]:
        """The one that tells most about the target; none where that is no more than chance."""
        wanted = _binned(target)
        telling = {name: information_beyond_chance(_binned(each), wanted) for name, each in pool.items()}
        best = max(telling, key=lambda name: telling[name], default=None)
        return [best] if best is not None and telling[best] > 0 else []

    def fit(
        self,
        target: Variable,
        inputs: Sequence[Variable],
        generator: np.random.Generator,  # noqa: ARG002
        clusters: Codes | None,  # noqa: ARG002
        exposure: float,  # noqa: ARG002
    ) -> ConditionalTable:
        """Count."""
        return fit_conditional(target, inputs, self.alpha)


def _binned(variable: Variable) -> Codes:
    """A few bins of a sample: the same rows of every variable of a table."""
    codes = np.maximum(variable.codes[:: max(len(variable.codes) // _ROWS, 1)], 0)
    return coarse(codes, _BINS)
