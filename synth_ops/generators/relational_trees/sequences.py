"""Children in order: what each row may know of the rows before it under the same parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.names import (
    FOLLOWING,
    POSITION,
    SIBLINGS,
    before_name,
    recalled_name,
    share_name,
)
from synth_ops.generators.relational_trees.tree import Codes

LONGEST = 512
"""The most rows of a parent that are drawn one after the other."""
_MOST_POSITIONS = 64

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    """A variable that is summed up over the rows before: its codes as blocks see them."""

    size: int
    ordered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceModel:
    """How the rows of a parent follow each other.

    Attributes:
        ordered_by: The columns that order them, the first one first; none where they stand as they were found.
        time: Which of these is counted from the row before.
        step: What all times differ by multiples of, in units.
        anchors: Columns of the primary parent that the time is compared with.
        same: Variables of which it is drawn first whether they are what they were in the row before.
        running: Variables that are summed up over all rows before.
        strand: The variable whose codes tell sequences apart that mix under one parent (the sensor of a reading).
        strands: Its number of codes.
    """

    ordered_by: tuple[str, ...]
    time: str | None = None
    step: int = 1
    anchors: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    running: Mapping[str, Summed] = field(default_factory=dict)
    strand: str | None = None
    strands: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "ordered_by": list(self.ordered_by),
            "time": self.time,
            "step": self.step,
            "anchors": list(self.anchors),
            "same": list(self.same),
            "running": {name: [each.size, each.ordered] for name, each in self.running.items()},
            "strand": self.strand,
            "strands": self.strands,
        }


def sequence_from_json(document: Mapping[str, Any]) -> SequenceModel:
    """Read what `to_json` wrote."""
    return SequenceModel(
        ordered_by=tuple(document["ordered_by"]),
        time=document["time"],
        step=document["step"],
        anchors=tuple(document["anchors"]),
        same=tuple(document["same"]),
        running={name: Summed(size=size, ordered=ordered) for name, (size, ordered) in document["running"].items()},
        strand=document["strand"],
        strands=document["strands"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Rows in order within their parents.

    Attributes:
        owner: A number for the parent of each row, from 0 on; a row without one is its own.
        before: The row before each row under the same parent; -1 for the first.
        position: Counts from 0 within the parent.
        siblings: How many rows the parent has.
    """

    owner: Rows
    before: Rows
    position: Rows
    siblings: Rows

    def steps(self) -> list[Rows]:
        """The rows of each position, the first one first."""
        return np.split(self.by_position(), np.cumsum(np.bincount(self.position))[:-1])

    def by_position(self) -> Rows:
        """All rows, those of the first position first."""
        return np.argsort(self.position, kind="stable")

    def take(self, rows: Rows) -> Order:
        """The same order of rows that change places: row `rows[n]` becomes row `n`; every row is among them."""
        new = np.empty(len(rows), np.int64)
        new[rows] = np.arange(len(rows))
        before = self.before[rows]
        return Order(
            owner=self.owner[rows],
            before=np.where(before >= 0, new[before], -1),
            position=self.position[rows],
            siblings=self.siblings[rows],
        )


def order_of(parent_of: Rows, keys: Sequence[npt.NDArray[Any]] = ()) -> Order:
    """Order rows under their parents by some keys, the first one first; the given order settles ties.

    Args:
        parent_of: Each row's parent; negative for none.
    """
    rows = len(parent_of)
    owner = np.where(parent_of >= 0, parent_of, parent_of.max(initial=0) + 1 + np.arange(rows))
    owner = np.unique(owner, return_inverse=True)[1].astype(np.int64)
    by_key = np.lexsort((*keys[::-1], owner))
    ordered = owner[by_key]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if rows else np.empty(0, bool)
    starts = np.flatnonzero(first)
    sizes = np.diff(np.concatenate([starts, [rows]]))
    before, position, siblings = np.full(rows, -1, np.int64), np.empty(rows, np.int64), np.empty(rows, np.int64)
    follows = np.flatnonzero(~first)
    before[by_key[follows]] = by_key[follows - 1]
    position[by_key] = np.arange(rows) - np.repeat(starts, sizes)
    siblings[by_key] = np.repeat(sizes, sizes)
    return Order(owner=owner, before=before, position=position, siblings=siblings)


def place_variables(order: Order) -> dict[str, Variable]:
    """Where a row stands, how many rows there are, and how many follow; long sequences share their last code."""

    def coded(values: Rows) -> Variable:
        codes = np.minimum(values, _MOST_POSITIONS - 1).astype(np.int32)
        return Variable(codes=codes, size=_MOST_POSITIONS, ordered=True)

    return {
        POSITION: coded(order.position),
        SIBLINGS: coded(order.siblings),
        FOLLOWING: coded(order.siblings - 1 - order.position),
    }


def before_variables(variables: Mapping[str, Variable], before: Rows) -> dict[str, Variable]:
    """What each variable was in the row before: its code plus one; 0 where there is none."""
    result = {}
    for name, each in variables.items():
        codes = np.where(before >= 0, np.maximum(each.codes[np.maximum(before, 0)], 0) + 1, 0).astype(np.int32)
        result[before_name(name)] = Variable(codes=codes, size=each.size + 1, ordered=each.ordered)
    return result


class Running:
    """A variable summed up under every parent while its rows are gone through in order.

    Ordered codes have a mean, NULLs left out. Of others the commonest one is guessed by majority vote (Boyer and Moore,
    1981), which needs one counter a parent.

    Args:
        owners: How many parents there are.
    """

    def __init__(self, summed: Summed, owners: int) -> None:
        self._ordered = summed.ordered
        self._value: npt.NDArray[Any] = np.zeros(owners, np.float64 if summed.ordered else np.int32)
        self._weight: npt.NDArray[np.int64] = np.zeros(owners, np.int64)

    @staticmethod
    def size(summed: Summed) -> int:
        """Number of codes."""
        return summed.size + (0 if summed.ordered else 1)

    def codes(self, owners: Rows) -> Codes:
        """The code of each owner so far; 0 where there was nothing."""
        if self._ordered:
            mean = self._value[owners] / np.maximum(self._weight[owners], 1)
            return np.asarray(np.rint(mean), np.int32)
        return np.where(self._weight[owners] > 0, self._value[owners] + 1, 0).astype(np.int32)

    def add(self, owners: Rows, codes: Codes) -> None:
        """Count one more row of each of some owners, no owner twice."""
        if self._ordered:
            self._value[owners] += np.maximum(codes, 0)
            np.add.at(self._weight, owners[codes > 0], 1)
            return
        idle = self._weight[owners] == 0
        self._value[owners[idle]] = np.maximum(codes[idle], 0)
        agrees = self._value[owners] == codes
        self._weight[owners] += np.where(agrees, 1, -1)


def running_codes(order: Order, variables: Mapping[str, Variable], summed: Mapping[str, Summed]) -> dict[str, Variable]:
    """Each variable summed up over the rows before, for every row."""
    owners = int(order.owner.max(initial=-1)) + 1
    steps = [(rows, order.owner[rows]) for rows in order.steps()]
    result = {}
    for name, each in summed.items():
        running, codes = Running(each, owners), np.zeros(len(order.owner), np.int32)
        for rows, owned in steps:
            codes[rows] = running.codes(owned)
            running.add(owned, variables[name].codes[rows])
        result[name] = Variable(codes=codes, size=Running.size(each), ordered=each.ordered)
    return result


class Strands:
    """Sequences that mix under one parent: the last row of each, and its share of all rows so far.

    Args:
        owners: How many parents there are.
        strands: How many sequences each may have.
    """

    SHARES = 9

    def __init__(self, owners: int, strands: int) -> None:
        self._last = np.full((owners, strands), -1, np.int64)
        self._counts = np.zeros((owners, strands), np.int32)

    def last(self, owners: Rows, strands: Codes) -> Rows:
        """The last row of a strand of each owner; -1 where there is none."""
        return np.asarray(self._last[owners, np.maximum(strands, 0)])

    def share(self, owners: Rows, strand: int, position: int) -> Codes:
        """How many of the rows of each owner are of a strand, in eighths, rounded up."""
        return np.asarray(-(-8 * self._counts[owners, strand] // max(position, 1)), np.int32)

    def add(self, owners: Rows, strands: Codes, rows: Rows) -> None:
        """Count one more row of each of some owners, no owner twice."""
        strands = np.maximum(strands, 0)
        self._last[owners, strands] = rows
        self._counts[owners, strands] += 1


def strand_variables(
    order: Order, variables: Mapping[str, Variable], strand: str, shared: bool
) -> tuple[dict[str, Variable], dict[str, Variable]]:
    """What every variable was in the last row of the same strand; and the share of each strand so far."""
    codes, rows = variables[strand].codes, len(order.owner)
    strands = Strands(int(order.owner.max(initial=-1)) + 1, variables[strand].size)
    last = np.empty(rows, np.int64)
    shares = {number: np.zeros(rows, np.int32) for number in range(1, variables[strand].size if shared else 1)}
    for position, step in enumerate(order.steps()):
        owners = order.owner[step]
        last[step] = strands.last(owners, codes[step])
        for number, found in shares.items():
            found[step] = strands.share(owners, number, position)
        strands.add(owners, codes[step], step)
    recalled = {name: each for name, each in variables.items() if name != strand}
    named = before_variables(recalled, last)
    return (
        {recalled_name(name): named[before_name(name)] for name in recalled},
        {
            share_name(number): Variable(codes=found, size=Strands.SHARES, ordered=True)
            for number, found in shares.items()
        },
    )
