"""How blocks come to be: in which order variables are drawn, what each depends on, and how."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from synth_ops.generators.relational_trees.block import BlockSettings, Variable, fit_block
from synth_ops.generators.relational_trees.learning.context import most_telling
from synth_ops.generators.relational_trees.model import AnyBlock
from synth_ops.generators.relational_trees.tree import Codes


class BlockMethod(Protocol):
    """What a generator of relational data brings along, beside keys, rows and codecs."""

    @property
    def known(self) -> Mapping[str, AnyBlock]:
        """Blocks that were learned before in the same way, by what they were made of."""

    def order(
        self,
        names: Sequence[str],
        free: Collection[str],
        variables: Mapping[str, Variable],
        pool: Mapping[str, Variable],
    ) -> Sequence[str]:
        """The order in which variables are drawn.

        Args:
            names: A good order.
            free: Those of them that no other one must follow or precede.
            variables: All of the table's.
            pool: What is drawn before them.
        """

    def choose(self, target: Variable, pool: Mapping[str, Variable], generator: np.random.Generator) -> Sequence[str]:
        """The variables, of those drawn before, that a block is to see."""

    def fit(
        self,
        target: Variable,
        inputs: Sequence[Variable],
        generator: np.random.Generator,
        clusters: Codes | None,
        exposure: float,
    ) -> AnyBlock:
        """Learn one block.

        Args:
            clusters: A number for every row; rows of one number hang together.
            exposure: How much of a subject one code tells, from 0 to 1.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeBlocks:
    """Trees that see all that was drawn before."""

    settings: BlockSettings
    known: Mapping[str, AnyBlock] = field(default_factory=dict)

    def order(
        self,
        names: Sequence[str],
        free: Collection[str],  # noqa: ARG002
        variables: Mapping[str, Variable],  # noqa: ARG002
        pool: Mapping[str, Variable],  # noqa: ARG002
    ) -> Sequence[str]:
        """As they come: the fewest codes first."""
        return names

    def choose(self, target: Variable, pool: Mapping[str, Variable], generator: np.random.Generator) -> Sequence[str]:
        """All, or the most telling where there are many."""
        return most_telling(target, pool, generator)

    def fit(
        self,
        target: Variable,
        inputs: Sequence[Variable],
        generator: np.random.Generator,
        clusters: Codes | None,
        exposure: float,
    ) -> AnyBlock:
        """Grow a tree."""
        settings = replace(
            self.settings, alpha=self.settings.alpha * exposure, evidence=self.settings.evidence * exposure
        )
        return fit_block(target, inputs, settings, generator, clusters)
