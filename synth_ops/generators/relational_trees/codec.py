"""Codecs: the only place where a real value is ever kept, and only one that k distinct subjects share.

A code of 0 is NULL. Whatever fewer than k subjects share is never stored: rare categories become one code, which is
drawn as one of the kept; rare numbers fall into bins that hold at least k subjects, whose ends are moved inwards to
where nobody is; what lies beyond the k-th lowest and highest subject is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.tree import Codes

_MOST_CATEGORIES = 10_000
_FEWEST_AMOUNTS, _LENGTH_OF_CODES = 10, 4
_MOST_ATOMS = 20_000
_BINS = 400
_ATOM_SHARE = 1 / 300
_COVERED = 0.95
_MOST_DECIMALS = 6
_EXACT = 2.0**53
_WIDEST = 2**61
_DAYS_TO_2000 = 10_957
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""Of the years 1 to 9999."""
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_SPECIALS = (math.nan, math.inf, -math.inf)

Subjects = tuple[npt.NDArray[np.int64], ...]
"""Whom each row belongs to, one array for each kind of person; without any, every row stands for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryCodec:
    """Texts that k subjects share, the most frequent first.

    Attributes:
        values: Code 1 is the first.
        weights: How often each was seen, in rows.
        ordered: Whether they are numbers, but for a few, as in a file that knows no types: the least first then, and
            each one that few share is taken for the nearest of them.
    """

    values: tuple[str, ...]
    weights: tuple[int, ...]
    ordered: bool = False

    @property
    def size(self) -> int:
        """Number of codes: NULL, the kept ones, and RARE, the last."""
        return len(self.values) + 2

    def encode(self, column: pa.ChunkedArray) -> Codes:
        """The code of every value."""
        found = pc.index_in(column, pa.array(self.values, pa.string())).combine_chunks()
        codes: Codes = pc.fill_null(found, len(self.values)).to_numpy(zero_copy_only=False).astype(np.int32) + 1
        codes[pc.is_null(column).to_numpy(zero_copy_only=False)] = 0
        if self.ordered:
            rare = np.flatnonzero(codes == self.size - 1)
            codes[rare] = self._nearest(column.take(pa.array(rare)).combine_chunks())
        return codes

    def _nearest(self, texts: pa.Array) -> Codes:
        """The code of the kept number next to each one; RARE for what is none."""
        kept, wanted = as_numbers(pa.array(self.values, pa.string())), as_numbers(texts)
        kept = kept[~np.isnan(kept)]
        above = np.clip(np.searchsorted(kept, wanted), 1, len(kept) - 1)
        nearest = above - (wanted - kept[above - 1] <= kept[above] - wanted)
        return np.where(np.isnan(wanted), self.size - 1, nearest + 1).astype(np.int32)

    def decode(self, codes: Codes, generator: np.random.Generator) -> pa.Array:
        """A value for every code; RARE becomes one of the kept, by their frequency. Nothing kept: NULL."""
        if not self.values:
            return pa.nulls(len(codes), pa.string())
        index = codes.astype(np.int64) - 1
        rare = index == len(self.values)
        if rare.any():
            weights = np.asarray(self.weights, dtype=np.float64)
            index[rare] = generator.choice(len(self.values), size=int(rare.sum()), p=weights / weights.sum())
        return pa.array(self.values, pa.string()).take(pa.array(index, mask=index < 0))

    def places(self) -> npt.NDArray[np.int64]:
        """The place of every code when values are sorted: NULL first, RARE last."""
        places = np.empty(self.size, np.int64)
        places[[0, self.size - 1]] = -1, len(self.values)
        places[1 + np.argsort(np.array(self.values, dtype=object))] = np.arange(len(self.values))
        return places

    def to_json(self) -> dict[str, Any]:
        """Values that k subjects share, and their counts."""
        document = {"codec": "category", "values": list(self.values), "weights": list(self.weights)}
        return {**document, "ordered": self.ordered}


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberCodec:
    """Numbers, dates and times: as multiples of `step`, in atoms and bins, in order.

    Where k subjects share nothing, code 1 stands for every value, and becomes one that comes from no data.

    Attributes:
        low, high: The range of each code from 1 on; equal for an atom. In units: the integer that stands for the value
            (days, microseconds, cents, ...), or the value itself where `continuous`.
        scale: Units are the values times 10 to this power.
        step: What all units differ by multiples of.
        specials: Which of NaN, +inf and -inf have a code of their own, after the ranges.
        ordered: Whether near codes mean near values (false for coded integers).
    """

    low: npt.NDArray[Any]
    high: npt.NDArray[Any]
    scale: int
    step: int
    continuous: bool
    specials: tuple[int, ...] = ()
    ordered: bool = True

    @property
    def size(self) -> int:
        """Number of codes: NULL, the ranges, the specials."""
        return self._first_special + len(self.specials)

    @property
    def _first_special(self) -> int:
        return max(len(self.low), 1) + 1

    def encode(self, column: pa.ChunkedArray) -> Codes:
        """The code of every value; one outside all ranges gets the nearest."""
        values, present = to_floats_or_integers(column, self.scale, continuous=self.continuous)
        codes = np.zeros(len(values), dtype=np.int32)
        special = np.zeros(len(values), dtype=np.int32)
        if values.dtype.kind == "f":
            for number, which in enumerate(self.specials):
                special[_matches(values, which)] = self._first_special + number
            present = present & np.isfinite(values)
        codes[present] = self.nearest(values[present]) + 1 if len(self.low) else 1
        codes[special > 0] = special[special > 0]
        return codes

    def nearest(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The range of every number of units, as its place: the one that holds it, or else the nearest."""
        atoms = np.flatnonzero(self.low == self.high)
        bins = np.flatnonzero(self.low != self.high)
        result = np.full(len(values), -1, dtype=np.int64)
        if len(atoms):
            place = np.searchsorted(self.low[atoms], values)
            near = np.minimum(place, len(atoms) - 1)
            exact = self.low[atoms][near] == values
            result[exact] = atoms[near[exact]]
        rest = result < 0
        if not rest.any():
            return result
        if len(bins):
            place = np.searchsorted(self.high[bins], values[rest])
            result[rest] = bins[np.minimum(place, len(bins) - 1)]
        else:
            ends = self.low[atoms]
            middles = ends[:-1] / 2 + ends[1:] / 2
            result[rest] = atoms[np.searchsorted(middles, values[rest])]
        return result

    def units(self, codes: Codes, generator: np.random.Generator) -> npt.NDArray[Any]:
        """A number of units for every code that stands for a range; anything for the others."""
        index = np.clip(codes - 1, 0, len(self.low) - 1)
        low, high = self.low[index], self.high[index]
        uniform = generator.random(len(codes))
        if self.continuous:
            between = low * (1 - uniform) + high * uniform  # high - low may be more than a float holds
            return np.asarray(np.clip(between, low, high))
        steps = (high - low) // self.step
        return np.asarray(low + np.minimum((uniform * (steps + 1.0)).astype(np.int64), steps) * self.step)

    def span(self, wanted: int, arrow_type: pa.DataType) -> tuple[int, int]:
        """Units for so many different values: the lowest, and how many steps there are from it to the highest.

        The codec's own range; where that is too narrow, as much more above it as is wanted and as the type has room
        for, then below it.
        """
        least, most = _limits(arrow_type)
        low = int(self.low.min()) if len(self.low) else _neutral(arrow_type)
        high = int(self.high.max()) if len(self.high) else low
        steps = min(max((high - low) // self.step, wanted - 1), (most - low) // self.step)
        below = min(max(wanted - 1 - steps, 0), (low - least) // self.step)
        return low - below * self.step, steps + below

    def decode(self, codes: Codes, generator: np.random.Generator, arrow_type: pa.DataType) -> pa.Array:
        """A value of the column's type for every code; bins are drawn from uniformly."""
        units = self.units(codes, generator) if len(self.low) else np.full(len(codes), _neutral(arrow_type))
        return self.from_units(units, codes, arrow_type)

    def from_units(self, units: npt.NDArray[Any], codes: Codes, arrow_type: pa.DataType) -> pa.Array:
        """Values from units, with NULL and the specials where the codes say so."""
        null = codes == 0
        if pa.types.is_floating(arrow_type):
            values = units / 10.0**self.scale if self.scale else units.astype(np.float64)
            for number, which in enumerate(self.specials):
                values[codes == self._first_special + number] = _SPECIALS[which]
            return pa.array(values, mask=null).cast(arrow_type)
        if self.continuous:
            return from_floats(units, null, arrow_type)
        units = units.astype(np.int64)
        for number, which in enumerate(self.specials):
            units[codes == self._first_special + number] = _infinity(arrow_type) * (1 if which == 1 else -1)
        return from_integers(units, null, arrow_type, self.scale)

    def to_json(self) -> dict[str, Any]:
        """Ranges that k subjects share."""
        return {
            "codec": "number",
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "scale": self.scale,
            "step": self.step,
            "continuous": self.continuous,
            "specials": list(self.specials),
            "ordered": self.ordered,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceCodec:
    """Whether a value stands there; the value itself is made by a provider."""

    ordered: bool = False
    size: int = field(default=2, init=False)

    def encode(self, column: pa.ChunkedArray) -> Codes:
        """0 for NULL, 1 for anything else."""
        codes: Codes = pc.is_valid(column).to_numpy(zero_copy_only=False).astype(np.int32)
        return codes

    def to_json(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {"codec": "presence"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudonymCodec:
    """Ids that repeat: which rows have the same one is learned, the ids themselves are made by a provider.

    Attributes:
        common: How many ids k subjects share; codes 1 to `common` stand for them.
        rare: How many others there are; the last code stands for all of them.
    """

    common: int
    rare: int
    ordered: bool = False

    @property
    def size(self) -> int:
        """Number of codes: NULL, the common ids, the rare ones."""
        return self.common + 2

    def encode(self, column: pa.ChunkedArray) -> Codes:
        """Not possible: no id is kept."""
        raise TypeError(f"ids of {len(column)} rows can't be told: none is kept")

    def decode(self, codes: Codes, generator: np.random.Generator, ids: pa.Array) -> pa.Array:
        """One of the made-up `ids` (as many as there are common and rare ones) for every code."""
        index = codes.astype(np.int64) - 1
        rare = index == self.common
        index[rare] += generator.integers(0, self.rare, int(rare.sum()))
        return ids.take(pa.array(index, mask=index < 0))

    def to_json(self) -> dict[str, Any]:
        """Two counts."""
        return {"codec": "pseudonym", "common": self.common, "rare": self.rare}


Codec = CategoryCodec | NumberCodec | PresenceCodec | PseudonymCodec


def codec_from_json(document: Mapping[str, Any]) -> Codec:
    """Read what `to_json` wrote."""
    if document["codec"] == "category":
        kept = {name: tuple(document[name]) for name in ("values", "weights")}
        return CategoryCodec(**kept, ordered=document["ordered"])
    if document["codec"] == "pseudonym":
        return PseudonymCodec(common=document["common"], rare=document["rare"])
    if document["codec"] == "presence":
        return PresenceCodec()
    kind = np.float64 if document["continuous"] else np.int64
    return NumberCodec(
        low=np.array(document["low"], dtype=kind),
        high=np.array(document["high"], dtype=kind),
        scale=document["scale"],
        step=document["step"],
        continuous=document["continuous"],
        specials=tuple(document["specials"]),
        ordered=document["ordered"],
    )


def variable(codec: Codec, codes: Codes) -> Variable:
    """Codes as blocks see them."""
    return Variable(codes=codes, size=codec.size, ordered=codec.ordered)


def is_numeric(arrow_type: pa.DataType) -> bool:
    """Whether a number codec can hold the type."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_temporal)
    return any(test(arrow_type) for test in tests) and not pa.types.is_interval(arrow_type)


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


def as_numbers(texts: pa.Array) -> npt.NDArray[np.float64]:
    """Texts as numbers; NaN for what is none, or is not finite."""
    import pandas as pd

    numbers = pd.to_numeric(texts.to_pandas(), errors="coerce").to_numpy(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


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
        for which in range(len(_SPECIALS)):
            where = present & _matches(values, which)
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


def to_floats_or_integers(
    column: pa.ChunkedArray, scale: int, *, continuous: bool
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Units of every value, and which are not NULL."""
    present = pc.is_valid(column).to_numpy(zero_copy_only=False)
    kind = column.type
    if continuous or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = pc.fill_null(column.cast(pa.float64(), safe=False), 0.0).to_numpy(zero_copy_only=False)
        if continuous:
            return values, present
        scaled = values * 10.0**scale
        if np.isfinite(scaled).all():
            return np.clip(np.rint(scaled), -_WIDEST, _WIDEST).astype(np.int64), present
        return np.where(np.isfinite(scaled), np.rint(scaled), scaled), present
    if pa.types.is_boolean(kind) or pa.types.is_date32(kind) or pa.types.is_time32(kind):
        column = column.cast(pa.int32() if not pa.types.is_boolean(kind) else pa.int8())
    if pa.types.is_uint64(column.type):
        column = pc.min_element_wise(column, pa.scalar(2**62, pa.uint64()))
    values = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    if pa.types.is_date32(kind) or pa.types.is_timestamp(kind):
        infinite = np.abs(values) == _infinity(kind)
        if infinite.any():
            return np.where(infinite, np.copysign(np.inf, values), values), present
    return np.clip(values, -_WIDEST, _WIDEST), present


def from_floats(values: npt.NDArray[np.float64], null: npt.NDArray[np.bool_], arrow_type: pa.DataType) -> pa.Array:
    """Values of a whole-number-like type from floats, cut off at the ends of the type."""
    if pa.types.is_decimal(arrow_type):
        return pa.array(values, mask=null).cast(arrow_type)
    limits = np.iinfo(arrow_type.to_pandas_dtype())
    inside = (values > float(limits.min)) & (values < float(limits.max))
    whole = np.where(values > 0, limits.max, limits.min).astype(limits.dtype)
    whole[inside] = np.rint(values[inside]).astype(limits.dtype)
    return pa.array(whole, mask=null).cast(arrow_type)


def from_integers(
    units: npt.NDArray[np.int64], null: npt.NDArray[np.bool_], arrow_type: pa.DataType, scale: int
) -> pa.Array:
    """Values of a whole-number-like type from units."""
    if pa.types.is_decimal(arrow_type):
        words = pa.py_buffer(np.ascontiguousarray(np.stack([units, units >> 63], axis=1)))  # 128 bits, low word first
        exact = pa.Array.from_buffers(pa.decimal128(38, scale), len(units), [None, words])
        return pc.if_else(pa.array(null), pa.scalar(None, exact.type), exact).cast(arrow_type)
    if pa.types.is_boolean(arrow_type):
        return pa.array(units > 0, mask=null)
    if pa.types.is_date32(arrow_type) or pa.types.is_time32(arrow_type):
        return pa.array(units.astype(np.int32), mask=null).cast(arrow_type)
    return pa.array(units, mask=null).cast(arrow_type)


def _limits(arrow_type: pa.DataType) -> tuple[int, int]:
    """The least and the greatest number of units that a type holds, and that every database can write."""
    if pa.types.is_boolean(arrow_type):
        return 0, 1
    if pa.types.is_date32(arrow_type):
        return _FIRST_DAY, _LAST_DAY
    if pa.types.is_timestamp(arrow_type) or pa.types.is_date64(arrow_type):
        per_day = 86_400 * PER_SECOND[getattr(arrow_type, "unit", "ms")]
        return _FIRST_DAY * per_day, (_LAST_DAY + 1) * per_day - 1
    if pa.types.is_time(arrow_type):
        return 0, 86_400 * PER_SECOND[arrow_type.unit] - 1
    if pa.types.is_integer(arrow_type):
        limits = np.iinfo(arrow_type.to_pandas_dtype())
        return max(int(limits.min), -_WIDEST), min(int(limits.max), _WIDEST)
    widest = 10**arrow_type.precision - 1 if pa.types.is_decimal(arrow_type) else int(_EXACT)
    return -min(widest, _WIDEST), min(widest, _WIDEST)


def _neutral(arrow_type: pa.DataType) -> int:
    """What stands for a value of which nothing may be known: the start of the year 2000, else one unit."""
    if pa.types.is_date32(arrow_type):
        return _DAYS_TO_2000
    if pa.types.is_timestamp(arrow_type) or pa.types.is_date64(arrow_type):
        return _DAYS_TO_2000 * 86_400 * PER_SECOND[getattr(arrow_type, "unit", "ms")]
    return 1


def _infinity(arrow_type: pa.DataType) -> int:
    """What DuckDB writes for a date or time that never comes; the same below zero for one that never was."""
    return 2**31 - 1 if pa.types.is_date32(arrow_type) else 2**63 - 1


def _matches(values: npt.NDArray[Any], which: int) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = np.isnan(values) if which == 0 else values == _SPECIALS[which]
    return found


def _scale_of(column: pa.ChunkedArray) -> tuple[int, bool]:
    """The power of ten that makes every value whole, and whether there is none."""
    if pa.types.is_decimal(column.type):
        return (0, True) if _largest(column) * 10.0**column.type.scale >= _WIDEST else (column.type.scale, False)
    if not pa.types.is_floating(column.type):
        return 0, pa.types.is_integer(column.type) and _largest(column) >= _WIDEST
    values = column.drop_null().to_numpy()
    values = values[np.isfinite(values)].astype(np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    for decimals in range(_MOST_DECIMALS + 1):
        scaled = values * 10.0**decimals
        if largest * 10.0**decimals >= _EXACT:
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
    low, high = _bins(distinct[~atom], np.minimum(counts, shared)[~atom], k, step)
    low, high = np.concatenate([distinct[atom], low]), np.concatenate([distinct[atom], high])
    by_middle = np.lexsort((high, low / 2 + high / 2))
    return low[by_middle], high[by_middle]


def _bins(
    values: npt.NDArray[Any], weight: npt.NDArray[np.int64], k: int, step: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Runs of neighbouring values with about equal rows, of at least 2 k subjects each.

    A subject may stand behind several values of a run, so that support does not add up: twice k leaves room for it.
    The ends of a run are moved half-way to its next value inside, so that they are nobody's, wherever there is room.
    """
    if not len(values):
        return values, values
    per_bin = max(2.0 * k, weight.sum() / _BINS)
    number = np.minimum((np.cumsum(weight) - weight) // per_bin, max(weight.sum() // per_bin - 1, 0)).astype(np.int64)
    starts = np.flatnonzero(np.concatenate([[True], number[1:] != number[:-1]]))
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
