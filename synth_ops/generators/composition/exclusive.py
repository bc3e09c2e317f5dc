"""Columns of which at most one is set in every row: a model sees which one, as one column, so that it stays so.

One-hot columns are such; the one that the frame works out of the others is not among them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_BY_CHANCE = 30
"""So many rows would have both of two columns set, if they had nothing to do with each other."""
_NONE = -1


def exclusive_groups(rows: pa.Table) -> list[list[str]]:
    """The groups of columns that hold 0 and 1, or false and true, of which no two are set in any row.

    >>> a, b = [True] * 90 + [False] * 90, [False] * 120 + [True] * 60
    >>> exclusive_groups(pa.table({"a": a, "b": b, "c": [True, False] * 90}))
    [['a', 'b']]
    """
    flags = {name: flag for name in rows.column_names if (flag := _flag(rows.column(name))) is not None}
    waiting, groups = list(flags), []
    while waiting:
        first, *waiting = waiting
        group = [first]
        for name in waiting:
            if all(_exclude_each_other(flags[name], flags[other]) for other in group):
                group.append(name)
        if len(group) > 1:
            groups.append(group)
            waiting = [name for name in waiting if name not in group]
    return groups


def _exclude_each_other(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> bool:
    return one.mean() * other.sum() >= _BY_CHANCE and not (one & other).any()


def fold(rows: pa.Table, groups: Sequence[Sequence[str]]) -> pa.Table:
    """The same rows with one column a group, by the name of its first: the number of the one that is set, as text."""
    for group in groups:
        flags = np.stack([rows.column(name).cast(pa.bool_()).to_numpy() for name in group])
        hot = np.where(flags.any(axis=0), np.argmax(flags, axis=0), _NONE)
        place = rows.column_names.index(group[0])
        rows = rows.set_column(place, group[0], pa.array(hot.astype(str))).drop_columns(list(group[1:]))
    return rows


def unfold(rows: pa.Table, groups: Sequence[Sequence[str]]) -> pa.Table:
    """The columns of every group as 0 and 1, from what `fold` made of them."""
    for group in groups:
        hot = rows.column(group[0])
        flags = [pc.fill_null(pc.equal(hot, str(number)), False) for number in range(len(group))]
        rows = rows.drop_columns([group[0]])
        for name, flag in zip(group, flags, strict=True):
            rows = rows.append_column(name, flag.cast(pa.int8()))
    return rows


def _flag(values: pa.ChunkedArray) -> npt.NDArray[np.bool_] | None:
    """Where a column is set, if it is NULL nowhere, and set or not set everywhere."""
    if values.null_count or not len(values):
        return None
    if pa.types.is_boolean(values.type):
        flags = values.to_numpy()
    elif pa.types.is_integer(values.type):
        numbers = values.to_numpy()
        flags = numbers == 1
        if not (flags | (numbers == 0)).all():
            return None
    else:
        return None
    return np.asarray(flags, bool) if flags.any() and not flags.all() else None
