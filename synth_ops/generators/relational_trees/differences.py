"""Times as distances from other times: the row before, another column of the row, or the parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.generators.relational_trees.codec import NumberCodec, codec_from_json
from synth_ops.generators.relational_trees.tree import Codes

_DETAIL = 16
_PARTS = 4
_OCTAVES = 62
DISTANCE_CODES = 2 * _DETAIL * _OCTAVES + 2
"""How many codes `distance_codes` has."""

Units = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Origin(StrEnum):
    """Where the value stands from which another is counted."""

    ROW = "row"
    """In another column of the same row."""
    BEFORE = "before"
    """In a column of the row before, under the same parent."""
    PARENT = "parent"
    """In a column of the primary parent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A column as a distance from a base, in the column's own units.

    Attributes:
        column: Whose value it gives.
        base: Where the value stands from which it is counted.
        base_column: Which one it is.
        codec: Of the distance.
        constants: Units of the column that mean no distance, such as an end that never comes; shared by k subjects.
        base_constants: Those of the base, from which nothing is counted.
        closing: Whether NULL and the constants stand in the last row of a parent only.
    """

    column: str
    base: Origin
    base_column: str
    codec: NumberCodec
    constants: tuple[int, ...]
    base_constants: tuple[int, ...]
    closing: bool = False

    @property
    def name(self) -> str:
        """Of the variable that holds its codes."""
        return f"difference|{self.base}|{self.base_column}|{self.column}"

    @property
    def size(self) -> int:
        """Number of codes: NULL, the distances, the constants."""
        return self.codec.size + len(self.constants)

    def encode(self, units: Units, null: Flags, bases: Units, based: Flags) -> Codes:
        """The code of every row; -1 where there is no base to count from.

        Args:
            units: Of the column; anything where it is NULL.
            bases: Units of the base; anything where `based` is false.
        """
        codes = self.codec.encode(pa.chunked_array([pa.array(units - bases)]))
        for number, constant in enumerate(self.constants):
            codes[units == constant] = self.codec.size + number
        codes[null] = 0
        codes[~based] = -1
        return codes

    def decode(self, codes: Codes, bases: Units, generator: np.random.Generator) -> Units:
        """Units of the column for every code but NULL's."""
        units: Units = bases + self.codec.units(codes, generator).astype(np.int64)
        for number, constant in enumerate(self.constants):
            units[codes == self.codec.size + number] = constant
        return units

    def range_of(self, codec: NumberCodec) -> tuple[int, int]:
        """The column's own range, constants left out.

        Args:
            codec: The column's.
        """
        usual = ~np.isin(codec.low, self.constants)
        usual = usual if usual.any() else np.ones(len(codec.low), bool)
        return int(codec.low[usual].min()), int(codec.high[usual].max())

    def is_constant(self, codes: Codes) -> Flags:
        """Which codes stand for no distance: NULL and the constants."""
        return np.asarray((codes == 0) | (codes >= self.codec.size))

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "column": self.column,
            "base": self.base.value,
            "base_column": self.base_column,
            "codec": self.codec.to_json(),
            "constants": list(self.constants),
            "base_constants": list(self.base_constants),
            "closing": self.closing,
        }


def difference_from_json(document: Mapping[str, Any]) -> Difference:
    """Read what `to_json` wrote."""
    codec = codec_from_json(document["codec"])
    if not isinstance(codec, NumberCodec):
        raise TypeError("a difference is a number")
    return Difference(
        column=document["column"],
        base=Origin(document["base"]),
        base_column=document["base_column"],
        codec=codec,
        constants=tuple(document["constants"]),
        base_constants=tuple(document["base_constants"]),
        closing=document["closing"],
    )


def time_units(values: pa.ChunkedArray, wanted: pa.DataType) -> tuple[Units, Flags]:
    """Dates, times or whole numbers in the units of another type, and which are neither NULL nor infinite.

    A date as a whole number is its year; a time as a date is its day.

    >>> import datetime
    >>> time_units(pa.chunked_array([[datetime.date(2024, 5, 6), None]]), pa.int32())
    (array([2024,    0]), array([ True, False]))
    """
    finite = pc.is_valid(values)
    if pa.types.is_temporal(values.type):
        finite = pc.and_kleene(finite, _is_finite(values))
        neutral = pa.scalar(0, pa.int64()).cast(pa.int32() if pa.types.is_date32(values.type) else pa.int64())
        values = pc.if_else(finite, values, neutral.cast(values.type))
        values = pc.year(values) if pa.types.is_integer(wanted) else values.cast(wanted, safe=False)
        values = pc.if_else(finite, values, pa.scalar(None, values.type))
    whole = pa.int32() if pa.types.is_date32(values.type) else pa.int64()
    units = pc.fill_null(values.cast(whole), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return units, finite.to_numpy(zero_copy_only=False).astype(bool)


def _is_finite(values: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = pa.int32() if pa.types.is_date32(values.type) else pa.int64()
    numbers = values.cast(kind)
    infinity = 2**31 - 1 if kind == pa.int32() else 2**63 - 1
    return pc.invert(pc.is_in(numbers, value_set=pa.array([infinity, -infinity], kind)))


def can_be_compared(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether values of one type can be turned into units of the other."""
    if one == other:
        return is_timelike(one)
    dated = pa.types.is_date(one) or pa.types.is_timestamp(one)
    return bool(dated and is_timelike(other))


def is_timelike(arrow_type: pa.DataType) -> bool:
    """Whether a type can hold a time: dates, times of a day excluded, and whole numbers."""
    kinds = pa.types
    return bool(kinds.is_date(arrow_type) or kinds.is_timestamp(arrow_type) or kinds.is_integer(arrow_type))


def distance_codes(distances: Units, step: int, known: Flags) -> Codes:
    """Distances on a logarithmic scale, in order: exact while they are small, to a sixteenth of an octave when large.

    The scale is fixed, so no value of the data is kept in it. Code 0 stands for an unknown distance.

    >>> codes = distance_codes(np.array([-2, 0, 1, 2, 1000]), 1, np.ones(5, bool))
    >>> (codes - codes[1]).tolist()
    [-2, 0, 1, 2, 111]
    """
    steps = np.abs(distances) // max(step, 1)
    large = np.log2(np.maximum(steps, 1) / _DETAIL) * _DETAIL + _DETAIL
    size = np.where(steps < _DETAIL, steps, np.minimum(large.astype(np.int64), _DETAIL * _OCTAVES - 1))
    codes = np.sign(distances) * size + _DETAIL * _OCTAVES
    return np.where(known, codes + 1, 0).astype(np.int32)


def pace_codes(distances: Units, step: int, known: Flags, following: Units) -> Codes:
    """Distances yet to go, a row that is to come: what the last one has to make up for exactly.

    Args:
        following: How many rows come after the one in question.
    """
    ahead = np.where(distances > 0, distances // (following + 1), distances)
    fine = np.where(np.abs(distances) < 2**58, distances * _PARTS // np.where(distances > 0, following + 1, 1), ahead)
    return distance_codes(fine, step, known)
