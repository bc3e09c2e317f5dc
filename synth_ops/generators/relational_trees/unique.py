"""Make sets of columns unique by moving values as little as possible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Integers = npt.NDArray[np.int64]


def identify(columns: Sequence[pa.Array | pa.ChunkedArray]) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """A number for every row, equal where all columns are; and which rows hold a NULL."""
    rows = len(columns[0])
    key, null = np.zeros(rows, np.int64), np.zeros(rows, dtype=bool)
    for column in columns:
        null |= pc.is_null(column).to_numpy(zero_copy_only=False)
        encoded = column.dictionary_encode()
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        codes = pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)
        key = densify(key * (len(encoded.dictionary) + 1) + codes)
    return key, null


def densify(values: Integers) -> Integers:
    """The same grouping, as numbers from 0 on.

    >>> densify(np.array([30, 10, 30])).tolist()
    [1, 0, 1]
    """
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def repeats(key: Integers, exempt: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Rows whose key another row before them has; exempt rows repeat nothing."""
    result = np.ones(len(key), dtype=bool)
    counted = np.flatnonzero(~exempt)
    _, first = np.unique(key[counted], return_index=True)
    result[counted[first]] = False
    result[exempt] = False
    return result


def spread(group: Integers, values: Integers, lowest: int, highest: int | Integers) -> Integers:
    """Move values to the nearest free ones, so that none repeats within its group.

    Each group is sorted and pushed upwards to be strictly increasing, then back down from `highest` (one for all, or
    one a row, the same within a group). Where a group has more rows than there are values, repeats remain.

    >>> spread(np.zeros(4, int), np.array([5, 5, 5, 9]), 0, 9).tolist()
    [5, 6, 7, 9]
    >>> spread(np.zeros(3, int), np.array([9, 9, 8]), 0, 9).tolist()
    [8, 9, 7]
    """
    order = np.lexsort((values, group))
    ordered, owner = values[order], group[order]
    starts = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]])) if len(owner) else np.empty(0, np.int64)
    sizes = np.diff(np.concatenate([starts, [len(owner)]]))
    rank = np.arange(len(owner)) - np.repeat(starts, sizes)
    rank_from_end = np.repeat(sizes, sizes) - 1 - rank
    pushed = _running_maximum(ordered - rank, starts, sizes) + rank
    top = highest[order] if isinstance(highest, np.ndarray) else highest
    capped = np.minimum(pushed, top - rank_from_end)
    result = np.empty_like(values)
    result[order] = np.maximum(capped, lowest)
    return result


def _running_maximum(values: Integers, starts: Integers, sizes: Integers) -> Integers:
    """The running maximum within each group: groups are lifted above each other, so that one pass does all."""
    if not len(values):
        return values
    span = int(values.max()) - int(values.min()) + 1
    lift = np.repeat(np.arange(len(starts)), sizes)
    if span * (len(starts) + 1) < 2**62:
        return np.maximum.accumulate(values + lift * span) - lift * span
    dense = densify(values)
    distinct = np.unique(values)
    top = len(distinct)
    return distinct[np.maximum.accumulate(dense + lift * top) - lift * top]
