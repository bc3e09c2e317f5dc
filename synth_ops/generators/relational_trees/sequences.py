"""Children in order: what each row may know of the row before it under the same parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.names import POSITION, SIBLINGS, before_name
from synth_ops.generators.relational_trees.tree import Codes

_MOST_POSITIONS = 64
_LONGEST = 512
_FEWEST_PER_PARENT = 1.5

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Rows in order within their parents.

    Attributes:
        before: The row before each row under the same parent; -1 for the first.
        position: Counts from 0 within the parent.
        siblings: How many rows the parent has.
    """

    before: Rows
    position: Rows
    siblings: Rows


def find_order(parent_of: Rows, times: Codes) -> Order | None:
    """The order of a table's rows, if they are sequences: several to a parent, not too many, told apart by a time.

    Args:
        parent_of: Each row's parent; negative for none.
        times: Codes of the column that orders them.
    """
    known = parent_of >= 0
    counts = np.bincount(parent_of[known]) if known.any() else np.zeros(1, np.int64)
    used = counts[counts > 0]
    if not len(used) or used.mean() < _FEWEST_PER_PARENT or used.max() > _LONGEST:
        return None
    order = order_of(np.where(known, parent_of, parent_of.max(initial=0) + 1 + np.arange(len(parent_of))), times)
    tied = (order.before >= 0) & (times[np.maximum(order.before, 0)] == times)
    if tied.sum() > (order.before >= 0).sum() / 2:
        return None
    return order


def order_of(group: Rows, times: Codes) -> Order:
    """Order rows by time within their groups; the given order settles ties."""
    by_time = np.lexsort((times, group))
    ordered = group[by_time]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(ordered) else np.empty(0, bool)
    starts = np.flatnonzero(first)
    sizes = np.diff(np.concatenate([starts, [len(ordered)]]))
    before, position = np.full(len(group), -1, np.int64), np.empty(len(group), np.int64)
    siblings = np.empty(len(group), np.int64)
    follows = np.flatnonzero(~first)
    before[by_time[follows]] = by_time[follows - 1]
    position[by_time] = np.arange(len(group)) - np.repeat(starts, sizes)
    siblings[by_time] = np.repeat(sizes, sizes)
    return Order(before=before, position=position, siblings=siblings)


def place_variables(position: Rows, siblings: Rows) -> dict[str, Variable]:
    """Where a row stands, and how many there are; long sequences share their last code."""

    def coded(values: Rows) -> Variable:
        codes = np.minimum(values, _MOST_POSITIONS - 1).astype(np.int32)
        return Variable(codes=codes, size=_MOST_POSITIONS, ordered=True)

    return {POSITION: coded(position), SIBLINGS: coded(siblings)}


def before_variables(variables: Mapping[str, Variable], before: Rows) -> dict[str, Variable]:
    """What each variable was in the row before: its code plus one; 0 where there is none."""
    result = {}
    for name, each in variables.items():
        codes = np.where(before >= 0, np.maximum(each.codes[np.maximum(before, 0)], 0) + 1, 0).astype(np.int32)
        result[before_name(name)] = Variable(codes=codes, size=each.size + 1, ordered=each.ordered)
    return result
