"""A table's columns as SDV's models see them, and back: codes and ranks, never a value of the source.

Every learned column goes through a codec of `relational_trees`, so that what fewer than k subjects share is gone before
SDV looks, and what it keeps (categories, minima, maxima) says nothing. A category becomes the label of its code; a
number becomes its rank, spread evenly from 0 to 1, beside a label for what has none: NULL, NaN, and single values that
many rows have. So no model has to learn how numbers lean or heap up: that comes back with the ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synth_ops.generators.relational_trees.codec import (
    CategoryCodec,
    Codec,
    NumberCodec,
    PresenceCodec,
    Subjects,
    codec_from_json,
)
from synth_ops.generators.relational_trees.learning.codecs import fit_category, fit_number
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.generators.relational_trees.units import is_numeric, to_floats_or_integers
from synth_ops.metadata import Kind

if TYPE_CHECKING:
    import pandas as pd

_SPIKE = 0.1
"""A number that so large a share of the rows has is told apart from the others."""
_OTHER = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """How one column is coded.

    Attributes:
        codec: Who keeps the values that may be kept.
        states: Codes of a number codec that have a label of their own, after that of all other values.
        only: The one code that a column has, which nobody needs to learn; None where there are several.
        weights: Of a number codec, which share of the rows that no state takes has each range, in the codec's order.
    """

    codec: Codec
    states: tuple[int, ...] = ()
    only: int | None = None
    weights: tuple[float, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether a model sees a number, and not a label alone."""
        return isinstance(self.codec, NumberCodec) and self.codec.ordered and self.only is None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` reads it back."""
        document = {"codec": self.codec.to_json(), "states": list(self.states), "only": self.only}
        return {**document, "weights": list(self.weights)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Coded:
        """Read what `to_json` wrote."""
        states, weights = tuple(document["states"]), tuple(document["weights"])
        return cls(codec=codec_from_json(document["codec"]), states=states, only=document["only"], weights=weights)


@dataclass(slots=True, kw_only=True)
class Seen:
    """What a model is to learn: labels, and ranks from 0 to 1."""

    labels: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    numbers: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """As pandas has it."""
        import pandas as pd

        return pd.DataFrame({**self.labels, **self.numbers})


def fit_codec(values: pa.ChunkedArray, kind: Kind, subjects: Subjects, k: int) -> Codec:
    """The codec of a learned column; that of presence where too few share any of its texts."""
    if is_numeric(values.type):
        return fit_number(values, subjects, k, ordered=kind is not Kind.CATEGORICAL)
    codec = fit_category(values.cast(pa.string()), subjects, k)
    return codec if codec.weights else PresenceCodec()


def encode(codec: Codec, values: pa.ChunkedArray) -> tuple[Coded, Codes]:
    """How a column is coded, and its codes."""
    codes = codec.encode(values.cast(pa.string()) if isinstance(codec, CategoryCodec) else values)
    present, counts = np.unique(codes, return_counts=True)
    if len(present) <= 1:
        return Coded(codec=codec, only=int(present[0]) if len(present) else 0), codes
    if not isinstance(codec, NumberCodec) or not codec.ordered:
        return Coded(codec=codec), codes
    atoms = np.flatnonzero(codec.low == codec.high) + 1
    spikes = present[(counts >= _SPIKE * len(codes)) & np.isin(present, atoms)]
    apart = present[(present == 0) | (present > max(len(codec.low), 1))]
    states = tuple(int(code) for code in (*apart, *spikes))
    plain = np.bincount(codes, minlength=codec.size)[1 : len(codec.low) + 1].astype(np.float64)
    plain[[code - 1 for code in states if 0 < code <= len(codec.low)]] = 0.0
    weights = tuple((plain / plain.sum()).tolist()) if plain.sum() else ()
    return Coded(codec=codec, states=states, weights=weights), codes


def show(place: int, coded: Coded, codes: Codes, values: pa.ChunkedArray, seen: Seen, key: np.random.Generator) -> None:
    """Add a column to what a model is to learn.

    Args:
        place: Of the column in its table: a model is not told its name.
        key: Makes what stands where a number has none.
    """
    codec = coded.codec
    if coded.only is not None:
        return
    if not coded.is_number or not isinstance(codec, NumberCodec):
        seen.labels[label(place)] = _labels(codes)
        return
    state = _state_of(coded, codes)
    if coded.states:
        seen.labels[label(place)] = _labels(state)
    plain = state == _OTHER
    if not coded.weights or not plain.any():
        return
    units, _ = to_floats_or_integers(values, codec.scale, continuous=codec.continuous)
    ranks = np.empty(len(codes))
    ranks[plain] = _ranks(coded, codec, codes[plain] - 1, units[plain].astype(np.float64), key)
    ranks[~plain] = key.random(int((~plain).sum()))  # what stands there is not looked at
    seen.numbers[number(place)] = ranks


def unseen(
    place: int, coded: Coded, made: pd.DataFrame, rows: int, arrow_type: pa.DataType, key: np.random.Generator
) -> pa.Array:
    """A column's values from what a model made of it; of one that a provider makes, its codes."""
    codec = coded.codec
    if coded.only is not None:
        return _values(codec, np.full(rows, coded.only, np.int32), arrow_type, key)
    if not coded.is_number or not isinstance(codec, NumberCodec):
        return _values(codec, _codes(made[label(place)], codec.size), arrow_type, key)
    states = len(coded.states) + 1
    state = _codes(made[label(place)], states) if coded.states else np.zeros(rows, np.int32)
    codes = np.asarray((1, *coded.states), np.int32)[state]
    if number(place) not in made:
        return codec.decode(codes, key, arrow_type)
    units = _units(coded, codec, made[number(place)].to_numpy(np.float64, na_value=np.nan))
    atoms = (state != _OTHER) & (codes > 0) & (codes <= len(codec.low))
    units[atoms] = codec.low[codes[atoms] - 1]
    return codec.from_units(units, np.where(atoms | (state == _OTHER), 1, codes), arrow_type)


def label(place: int) -> str:
    """What a model calls the label of a column, or of what is no place in its range."""
    return f"label_{place}"


def number(place: int) -> str:
    """What a model calls the number of a column."""
    return f"number_{place}"


def _values(codec: Codec, codes: Codes, arrow_type: pa.DataType, key: np.random.Generator) -> pa.Array:
    """Values for codes; the codes themselves where a provider makes the values."""
    if isinstance(codec, NumberCodec):
        return codec.decode(codes, key, arrow_type)
    if isinstance(codec, CategoryCodec):
        return codec.decode(codes, key).cast(arrow_type)
    return pa.array(codes)


def _state_of(coded: Coded, codes: Codes) -> npt.NDArray[np.int32]:
    state = np.zeros(len(codes), np.int32)
    for place, code in enumerate(coded.states, start=1):
        state[codes == code] = place
    return state


def _labels(codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.char.add("c", codes.astype(str)).astype(object)


def _codes(labels: pd.Series[Any], size: int) -> Codes:
    """Codes from labels; what a model left out is drawn as the first one."""
    import pandas as pd

    numbers = pd.to_numeric(labels.astype(str).str.slice(1), errors="coerce").to_numpy(np.float64, na_value=0.0)
    codes: Codes = np.clip(numbers, 0, size - 1).astype(np.int32)
    return codes


def _ladder(coded: Coded, codec: NumberCodec) -> tuple[Codes, npt.NDArray[np.float64]]:
    """The ranges that have a weight, from low to high, and up to which rank each goes."""
    weights = np.asarray(coded.weights)
    middle = codec.low / 2 + codec.high / 2
    order = np.argsort(middle, kind="stable")
    order = order[weights[order] > 0]
    return order.astype(np.int32), np.cumsum(weights[order])


def _ranks(
    coded: Coded, codec: NumberCodec, ranges: Codes, units: npt.NDArray[np.float64], key: np.random.Generator
) -> npt.NDArray[np.float64]:
    """The rank of every number, in a range that is as wide as it has rows; anywhere there, where that is one value."""
    order, ends = _ladder(coded, codec)
    steps = np.zeros(len(codec.low), np.int64)
    steps[order] = np.arange(len(order))
    step, width = steps[ranges], np.asarray(coded.weights)[ranges]
    low, high = codec.low[ranges].astype(np.float64), codec.high[ranges].astype(np.float64)
    span = high - low
    inside = np.where(span > 0, np.clip(units - low, 0, span) / np.where(span > 0, span, 1.0), key.random(len(ranges)))
    return np.asarray(ends[step] - width + inside * width)


def _units(coded: Coded, codec: NumberCodec, ranks: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Units from ranks: on the codec's grid, and inside what k subjects share."""
    order, ends = _ladder(coded, codec)
    rank = np.nan_to_num(np.clip(ranks, 0.0, 1.0), nan=0.5)
    step = np.minimum(np.searchsorted(ends, rank), len(order) - 1)
    found = order[step]
    width = np.asarray(coded.weights)[found]
    inside = np.clip((rank - (ends[step] - width)) / width, 0.0, 1.0)
    place = inside * (codec.high[found].astype(np.float64) - codec.low[found].astype(np.float64))
    if codec.continuous:
        return np.asarray(np.clip(codec.low[found] + place, codec.low[found], codec.high[found]))
    units = codec.low[found] + np.rint(place / codec.step).astype(np.int64) * codec.step
    return np.asarray(np.clip(units, codec.low[found], codec.high[found]))
