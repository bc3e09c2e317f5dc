"""From the values that sqlite3 returns to Arrow arrays, column by column."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.sql import quote

_PLAIN = {"BIGINT": ("INTEGER", pa.int64()), "DOUBLE": ("REAL", pa.float64()), "BLOB": ("BLOB", pa.binary())}
_TEMPORAL = {
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", "UTC"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How one column is read.

    Attributes:
        select: The SQL expression.
        type: The Arrow type.
        convert: From what sqlite3 returns (text as bytes) to an array of that type.
    """

    select: str
    type: pa.DataType
    convert: Callable[[Sequence[object]], pa.Array]


def reading(name: str, kind: str) -> Reading:
    """How a column of a DuckDB type is read."""
    column = quote(name)
    if kind in _PLAIN:
        sql_type, plain = _PLAIN[kind]
        return Reading(
            select=f"CAST({column} AS {sql_type})", type=plain, convert=lambda values: pa.array(values, plain)
        )
    if kind == "BOOLEAN":
        return Reading(
            select=column, type=pa.bool_(), convert=lambda values: pa.array(values, pa.int64()).cast(pa.bool_())
        )
    if kind in _TEMPORAL:
        return Reading(
            select=column,
            type=_TEMPORAL[kind],
            convert=lambda values: pa.array(values, pa.binary()).cast(pa.string()).cast(_TEMPORAL[kind]),
        )
    if kind == "VARCHAR":
        return Reading(
            select=f"CAST({column} AS TEXT)",
            type=pa.string(),
            convert=lambda values: pa.array(values, pa.binary()).cast(pa.string()),
        )
    precision, scale = (int(part) for part in re.findall(r"\d+", kind))
    decimal = pa.decimal128(precision, scale)
    return Reading(
        select=f"CAST({column} AS REAL)",
        type=decimal,
        convert=lambda values: pc.round(pa.array(values, pa.float64()), scale).cast(decimal),
    )
