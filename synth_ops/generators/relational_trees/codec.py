"""Codecs: the only place where a real value is ever kept, and only one that k distinct subjects share.

A code of 0 is NULL. Whatever fewer than k subjects share is never stored: rare categories become one code, which is
drawn as one of the kept; rare numbers fall into bins that hold at least k subjects, whose ends are moved inwards to
where nobody is; what lies beyond the k-th lowest and highest subject is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.generators.relational_trees.units import (
    SPECIALS,
    as_numbers,
    from_floats,
    from_integers,
    infinity,
    limits,
    matches,
    neutral,
    to_floats_or_integers,
)

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
                special[matches(values, which)] = self._first_special + number
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
        least, most = limits(arrow_type)
        low = int(self.low.min()) if len(self.low) else neutral(arrow_type)
        high = int(self.high.max()) if len(self.high) else low
        steps = min(max((high - low) // self.step, wanted - 1), (most - low) // self.step)
        below = min(max(wanted - 1 - steps, 0), (low - least) // self.step)
        return low - below * self.step, steps + below

    def decode(self, codes: Codes, generator: np.random.Generator, arrow_type: pa.DataType) -> pa.Array:
        """A value of the column's type for every code; bins are drawn from uniformly."""
        units = self.units(codes, generator) if len(self.low) else np.full(len(codes), neutral(arrow_type))
        return self.from_units(units, codes, arrow_type)

    def from_units(self, units: npt.NDArray[Any], codes: Codes, arrow_type: pa.DataType) -> pa.Array:
        """Values from units, with NULL and the specials where the codes say so."""
        null = codes == 0
        if pa.types.is_floating(arrow_type):
            values = units / 10.0**self.scale if self.scale else units.astype(np.float64)
            for number, which in enumerate(self.specials):
                values[codes == self._first_special + number] = SPECIALS[which]
            return pa.array(values, mask=null).cast(arrow_type)
        if self.continuous:
            return from_floats(units, null, arrow_type)
        units = units.astype(np.int64)
        for number, which in enumerate(self.specials):
            units[codes == self._first_special + number] = infinity(arrow_type) * (1 if which == 1 else -1)
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
    between = isinstance(codec, NumberCodec) and codec.ordered and not codec.specials
    return Variable(codes=codes, size=codec.size, ordered=codec.ordered, between=between)
