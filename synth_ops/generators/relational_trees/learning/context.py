"""What a block may see: the parent's variables, and of many inputs the most telling ones."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.learning.state import Learning
from synth_ops.generators.relational_trees.names import (
    COLUMN,
    DIFFERENCE,
    ELAPSED,
    REFERENCE,
    SEQUENCE,
    reference_name,
    through,
)
from synth_ops.generators.relational_trees.tree import Codes

_MOST_INPUTS = 128
_MOST_CONTEXT = 48
_SCREENING_ROWS = 10_000
_SCREENING_BINS = 12
_DEVIATIONS = 3


def clusters_of(tables: Mapping[str, Learning], learning: Learning) -> Codes | None:
    """A number for every row: the same for those that hang together below one row at the top; None where none do.

    What refers to reference data alone stands alone: its rows come back in the copy, and what is particular to one of
    them is no chance.
    """
    found = np.full(learning.rows, -1, np.int64)
    climbing = np.arange(learning.rows)
    at, taken = climbing, 0
    while (key := learning.structure.primary) and not tables[key.parent].structure.lookup:
        above = learning.parents[learning.number(key)][at]
        found[climbing[above < 0]] = taken + at[above < 0]
        climbing, at, taken = climbing[above >= 0], above[above >= 0], taken + learning.rows
        learning = tables[key.parent]
    found[climbing] = taken + at
    return np.unique(found, return_inverse=True)[1].astype(np.int32) if taken else None


def seen_through(tables: Mapping[str, Learning], learning: Learning, number: int, role: str) -> dict[str, Variable]:
    """A parent's variables for every child row; code 0 where there is no parent."""
    key = learning.structure.table.foreign_keys[number]
    parent_of = learning.parents[number]
    result = {}
    for name in visible(tables[key.parent], role):
        each = tables[key.parent].variables[name]
        codes = np.where(parent_of >= 0, each.codes[np.maximum(parent_of, 0)], 0) if len(each.codes) else parent_of * 0
        result[through(number, name)] = Variable(
            codes=np.maximum(codes, 0).astype(np.int32), size=each.size, ordered=each.ordered
        )
    return result


def visible(parent: Learning, role: str) -> list[str]:
    """Which of a parent's variables a child may depend on: columns, references, and the role in this foreign key.

    A lookup's rows keep their identity, but not their columns' values: of those, a child sees the role alone.
    """
    if parent.structure.lookup:
        return [role] if role in parent.variables else []
    late = {reference_name(parent.number(key)) for key in parent.structure.deferred}
    names = [
        name
        for name in parent.variables
        if name == role or (name.startswith((COLUMN, REFERENCE, DIFFERENCE)) and name not in late)
    ]
    return sorted(names, key=lambda name: name != role)[:_MOST_CONTEXT]


def most_telling(target: Variable, pool: Mapping[str, Variable], generator: np.random.Generator) -> list[str]:
    """The inputs that share most information with the target, where there are too many to try.

    Where a row stands in its sequence is always among them: it tells little alone, and much together with others.
    """
    if len(pool) <= _MOST_INPUTS:
        return list(pool)
    rows = np.flatnonzero(target.codes >= 0)
    if len(rows) > _SCREENING_ROWS:
        rows = generator.choice(rows, _SCREENING_ROWS, replace=False)
    wanted = coarse(target.codes[rows])
    information = {name: mutual_information(coarse(each.codes[rows]), wanted) for name, each in pool.items()}
    placed = [name for name in pool if name.startswith((SEQUENCE, ELAPSED, DIFFERENCE))][: _MOST_INPUTS // 3]
    best = [*placed, *sorted(set(pool) - set(placed), key=lambda name: (-information[name], name))][:_MOST_INPUTS]
    return [name for name in pool if name in best]


def coarse(codes: Codes, bins: int = _SCREENING_BINS) -> Codes:
    """Codes in a few bins of about equal weight."""
    distinct, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    if len(distinct) <= bins:
        return inverse.astype(np.int32)
    middle = (np.cumsum(counts) - counts / 2) * (bins / len(codes))
    return np.minimum(middle.astype(np.int32), bins - 1)[inverse]


def mutual_information(one: Codes, other: Codes, bins: int = _SCREENING_BINS) -> float:
    """What two variables in so many bins tell of each other, in nats."""
    joint = np.bincount(one * bins + other, minlength=bins**2).reshape(bins, -1)
    share = joint / max(joint.sum(), 1)
    independent = share.sum(axis=1, keepdims=True) * share.sum(axis=0, keepdims=True)
    seen = share > 0
    return float((share[seen] * np.log(share[seen] / independent[seen])).sum())


def information_beyond_chance(one: Codes, other: Codes, bins: int = 32) -> float:
    """What two variables in so many bins tell of each other, in nats, less what chance alone may give."""
    if not len(one):
        return 0.0
    freedom = int(one.max()) * int(other.max())
    chance = freedom + _DEVIATIONS * math.sqrt(2 * freedom)  # of a G test: twice the rows times the information
    return mutual_information(one, other, bins) - chance / (2 * len(one))
