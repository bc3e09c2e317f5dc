"""Learn codecs: which values k subjects share, and which bins hold as many."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.generators.relational_trees.codec import CategoryCodec, NumberCodec, Subjects
from synth_ops.generators.relational_trees.units import (
    EXACT,
    SPECIALS,
    WIDEST,
    as_numbers,
    matches,
    to_floats_or_integers,
)

_MOST_CATEGORIES = 10_000
_FEWEST_AMOUNTS, _LENGTH_OF_CODES = 10, 4
_MOST_ATOMS = 20_000
_BINS = 400
_ATOM_SHARE = 1 / 300
_COVERED = 0.95
_MOST_DECIMALS = 6
_NO_CHANCE = 12
"""How many times as wide as others a gap is that is no chance: of 50 exponential ones one is, once in 3,000 times."""


def fit_category(column: pa.ChunkedArray, subjects: Subjects, k: int, *, in_order: bool = False) -> CategoryCodec:
    """Keep the texts that at least k distinct subjects share.

    Args:
        in_order: Whether texts that are numbers have the order of these.
    """
    encoded = column.dictionary_encode().combine_chunks()
    index = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    counts, shared = support(index, len(encoded.dictionary), subjects)
    kept = np.flatnonzero(shared >= k)
    kept = kept[np.argsort(-counts[kept], kind="stable")][:_MOST_CATEGORIES]
    values = encoded.dictionary.take(pa.array(kept))
    ordered = in_order and _are_amounts(values, counts[kept])
    if ordered:
        by_size = np.argsort(as_numbers(values), kind="stable")
        kept, values = kept[by_size], values.take(pa.array(by_size))
    weights = tuple(int(count) for count in counts[kept])
    return CategoryCodec(values=tuple(values.to_pylist()), weights=weights, ordered=ordered)


def _are_amounts(texts: pa.Array, counts: npt.NDArray[np.int64]) -> bool:
    """Whether nearly all of some texts are many different numbers, and no codes: those begin with 0, or are as long."""
    known = ~np.isnan(as_numbers(texts))
    if known.sum() < _FEWEST_AMOUNTS or counts[known].sum() < _COVERED * counts.sum():
        return False
    numbers = texts.filter(pa.array(known))
    lengths = pc.utf8_length(numbers)
    as_long = pc.min(lengths).as_py() == pc.max(lengths).as_py() >= _LENGTH_OF_CODES
    padded = pc.any(pc.match_substring_regex(numbers, r"^0[0-9]")).as_py()
    return not (as_long or padded)


def fit_number(column: pa.ChunkedArray, subjects: Subjects, k: int, *, ordered: bool = True) -> NumberCodec:
    """Keep atoms and bins that at least k distinct subjects share, between the k-th subject at either end."""
    scale, continuous = _scale_of(column)
    values, present = to_floats_or_integers(column, scale, continuous=continuous)
    specials: list[int] = []
    if values.dtype.kind == "f":
        for which in range(len(SPECIALS)):
            where = present & matches(values, which)
            _, shared = support(np.where(where, 0, -1), 1, subjects)
            if shared[0] >= k:
                specials.append(which)
        present = present & np.isfinite(values)
    rows = np.flatnonzero(present)
    known = values[rows]
    owners = tuple(each[rows] for each in subjects)
    inside = _between_ends(known, owners, k)
    step = 1 if continuous else _step(known[inside])
    low, high = _ranges(known[inside], tuple(each[inside] for each in owners), k, step, len(known))
    if len(low) and not continuous and (low == high).all():
        step = _step(low)
    return NumberCodec(
        low=low, high=high, scale=scale, step=step, continuous=continuous, specials=tuple(specials), ordered=ordered
    )


def _scale_of(column: pa.ChunkedArray) -> tuple[int, bool]:
    """The power of ten that makes every value whole, and whether there is none."""
    if pa.types.is_decimal(column.type):
        return (0, True) if _largest(column) * 10.0**column.type.scale >= WIDEST else (column.type.scale, False)
    if not pa.types.is_floating(column.type):
        return 0, pa.types.is_integer(column.type) and _largest(column) >= WIDEST
    values = column.drop_null().to_numpy()
    values = values[np.isfinite(values)].astype(np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    for decimals in range(_MOST_DECIMALS + 1):
        scaled = values * 10.0**decimals
        if largest * 10.0**decimals >= EXACT:
            break
        if np.abs(scaled - np.rint(scaled)).max(initial=0.0) < 1e-6 * max(1.0, 10.0**decimals / 1e3):
            return decimals, False
    return 0, True


def _largest(column: pa.ChunkedArray) -> float:
    """The greatest distance from zero."""
    ends = pc.min_max(column).as_py()
    return max((abs(float(end)) for end in ends.values() if end is not None), default=0.0)


def support(
    index: npt.NDArray[np.int64], size: int, subjects: Subjects
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and distinct subjects of every value; a negative index counts for none.

    Where rows belong to subjects of several kinds (a patient and a doctor), the fewest count.
    """
    known = index >= 0
    counts = np.bincount(index[known], minlength=size)
    shared = counts
    for owners in subjects:
        owned = known & (owners >= 0)
        span = int(owners.max(initial=0)) + 1
        pairs = np.unique(index[owned] * span + owners[owned])
        shared = np.minimum(shared, np.bincount(pairs // span, minlength=size))
    return counts, shared


def _between_ends(values: npt.NDArray[Any], subjects: Subjects, k: int) -> npt.NDArray[np.bool_]:
    """Which values lie between the k-th subject at either end; none where there are fewer subjects."""
    order = np.argsort(values, kind="stable")
    ordered, owners = values[order], tuple(each[order] for each in subjects)
    first = _kth_subject(owners, len(ordered), k)
    last = _kth_subject(tuple(each[::-1] for each in owners), len(ordered), k)
    if first is None or last is None:
        return np.zeros(len(values), dtype=bool)
    inside: npt.NDArray[np.bool_] = (values >= ordered[first]) & (values <= ordered[len(ordered) - 1 - last])
    return inside


def _ranges(
    values: npt.NDArray[Any], subjects: Subjects, k: int, step: int, rows: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Atoms and bins, in order of their middles.

    Args:
        values: Those between the ends that k subjects share.
        rows: How many there are in all.
    """
    distinct, inverse = np.unique(values, return_inverse=True)
    counts, shared = support(inverse, len(distinct), subjects)
    atom = shared >= k
    if len(distinct) <= _MOST_ATOMS and atom.any() and counts[atom].sum() >= _COVERED * rows:
        return distinct[atom], distinct[atom]
    atom &= counts >= rows * _ATOM_SHARE
    binned = ~atom & _between_spikes(values, distinct, inverse, subjects, atom, k)
    low, high = _bins(distinct[binned], np.minimum(counts, shared)[binned], k, step)
    low, high = np.concatenate([distinct[atom], low]), np.concatenate([distinct[atom], high])
    by_middle = np.lexsort((high, low / 2 + high / 2))
    return low[by_middle], high[by_middle]


def _between_spikes(
    values: npt.NDArray[Any],
    distinct: npt.NDArray[Any],
    inverse: npt.NDArray[np.int64],
    subjects: Subjects,
    atom: npt.NDArray[np.bool_],
    k: int,
) -> npt.NDArray[np.bool_]:
    """Which values are left where atoms lie beyond all others: those have ends of their own.

    Next to "until further notice" the last real date is as much its owner's as it would be without.
    """
    left = np.ones(len(distinct), dtype=bool)
    beyond = [atom[0], atom[-1]] if len(atom) else [False, False]
    if not any(beyond):
        return left
    loose = ~atom[inverse]
    inside = _between_ends(values[loose], tuple(each[loose] for each in subjects), k)
    ends = values[loose][inside]
    if not len(ends):
        return ~left
    if beyond[0]:
        left &= distinct >= ends.min()
    if beyond[1]:
        left &= distinct <= ends.max()
    return left


def _bins(
    values: npt.NDArray[Any], weight: npt.NDArray[np.int64], k: int, step: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Runs of neighbouring values with about equal rows, of at least 2 k subjects each.

    A subject may stand behind several values of a run, so that support does not add up: twice k leaves room for it.
    The ends of a run are moved half-way to its next value inside, so that they are nobody's, wherever there is room.
    """
    if not len(values):
        return values, values
    starts = _starts(values, weight, 2.0 * k)
    ends = np.concatenate([starts[1:] - 1, [len(values) - 1]])
    lonely = (starts == ends) & (weight[starts] < k)
    joined = np.concatenate([[False], lonely[:-1]])  # a value of its own that too few share goes with the next ones
    joined[-1] |= lonely[-1]
    starts = starts[~joined] if len(starts) > 1 else starts[~lonely]
    if not len(starts):
        return values[:0], values[:0]
    starts[0] = 0
    ends = np.concatenate([starts[1:] - 1, [len(values) - 1]])
    several = ends > starts
    low, high = values[starts].copy(), values[ends].copy()
    low[several] += _half(values[starts + several] - values[starts], step)[several]
    high[several] -= _half(values[ends] - values[ends - several], step)[several]
    return np.minimum(low, high), high


def _starts(values: npt.NDArray[Any], weight: npt.NDArray[np.int64], least: float) -> npt.NDArray[np.int64]:
    """Where runs begin: one after as many rows as each is due, or at a gap near there that is no chance.

    What lies on both sides of a gap, two seasons or two shifts, would else be one run, and drawn from within the gap.
    Gaps that come by chance are those of the people who are learned from: a cut there would tell them from others.

    Args:
        least: How many rows each run is due at least; none gets less for the sake of a gap.
    """
    due = max(least, weight.sum() / _BINS)
    room = (due - least) / 2
    before = np.cumsum(weight) - weight
    places = due * np.arange(1, max(weight.sum() // due, 1))
    first = np.searchsorted(before, places - room)
    last = np.searchsorted(before, places + room, side="right")
    gaps = np.diff(values, prepend=values[:1])
    starts = [0]
    for place, low, high in zip(places, first, last, strict=True):
        near = gaps[low:high]
        widest = np.argmax(near) if len(near) > 1 else 0
        alone = len(near) > 1 and near[widest] >= _NO_CHANCE * (near.sum() - near[widest]) / (len(near) - 1)
        starts.append(int(low + widest if alone else np.searchsorted(before, place)))
    found = np.unique(starts)
    return found[found < len(values)]


def _half(gaps: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    """About half of each gap, in whole steps; nothing where there is no room between two values."""
    if gaps.dtype.kind == "f":
        return gaps / 2
    return np.where(gaps > step, (gaps // step + 1) // 2 * step, 0)


def _kth_subject(owners: Subjects, rows: int, k: int) -> int | None:
    """The position at which the k-th distinct subject (of every kind) appears; None when there are fewer."""
    positions = [k - 1 if rows >= k else None]
    positions += [_kth_distinct(each, k) for each in owners]
    return None if None in positions else max(position for position in positions if position is not None)


def _kth_distinct(owners: npt.NDArray[np.int64], k: int) -> int | None:
    window = 64 * k
    while True:
        seen, where = np.unique(owners[:window], return_index=True)
        where = np.sort(where[seen >= 0])
        if len(where) >= k:
            return int(where[k - 1])
        if window >= len(owners):
            return None
        window *= 8


def _step(values: npt.NDArray[Any]) -> int:
    """The greatest number of units that all values differ by multiples of."""
    distinct = np.unique(values)
    return max(1, int(np.gcd.reduce((distinct - distinct[0]).astype(np.int64)))) if len(distinct) else 1
