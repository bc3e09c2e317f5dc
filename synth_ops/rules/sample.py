"""Some rows as numbers, on which rules are tried: times as seconds, everything else that can be equal as its hash."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synth_ops.artifacts import TableData
from synth_ops.metadata import Column, Kind, Table
from synth_ops.sql import is_number, is_text, is_time, picked_sql, quote

if TYPE_CHECKING:
    import duckdb

SAMPLED_ROWS = 2_000
PARTS = ("year", "quarter", "month", "week", "day", "dayofyear", "isodow", "dayofweek", "hour", "minute")
WHOLE = 0.5000001
"""The tolerance of whole numbers: a rounded half, and what floating-point arithmetic is off by."""
_MOST_DECIMALS = 6

Floats = npt.NDArray[np.float64]


class Measure(StrEnum):
    """What a column's values can be compared with."""

    NUMBER = "number"
    TIME = "time"
    CODE = "code"
    """Texts, UUIDs, booleans: they are equal or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some rows of one table.

    Attributes:
        columns: By measure and name; NaN for NULL.
        parts: Parts of dates and times, by column and part.
        tolerances: Of the numbers: half of the last decimal.
        whole: Which of the numbers are whole, whatever their type.
    """

    columns: Mapping[Measure, Mapping[str, Floats]]
    parts: Mapping[tuple[str, str], Floats]
    tolerances: Mapping[str, float]
    whole: frozenset[str]


def measure_of(column: Column) -> Measure | None:
    """How a column's values compare; None for what does not, such as lists and files."""
    if is_number(column.type):
        return Measure.NUMBER
    if is_time(column.type):
        return Measure.TIME
    return Measure.CODE if is_text(column.type) or column.type.upper() in ("UUID", "BOOLEAN") else None


def as_number_sql(column: Column, place: str = "") -> str:
    """SQL for a column's value as a number that compares as the value does.

    Args:
        place: The alias of the table.
    """
    name = f"{place}.{quote(column.name)}" if place else quote(column.name)
    measure = measure_of(column)
    if measure is Measure.NUMBER:
        return f"CAST({name} AS DOUBLE)"
    if measure is Measure.TIME:
        return f"CAST(epoch({name}) AS DOUBLE)"
    # a double holds 53 bits exactly
    return f"CASE WHEN {name} IS NOT NULL THEN CAST(hash(CAST({name} AS VARCHAR)) >> 11 AS DOUBLE) END"


def read_sample(connection: duckdb.DuckDBPyConnection, table: Table, data: TableData) -> Sample:
    """Read the columns that rules may tie together: no keys, no references, no identifiers."""
    apart = {name for key in table.foreign_keys for name in key.columns}
    apart |= {key[0] for key in table.keys if len(key) == 1}
    usable = [column for column in table.columns if column.name not in apart and measure_of(column)]
    usable = [column for column in usable if column.kind is not Kind.ID or measure_of(column) is Measure.CODE]
    times = [column for column in usable if measure_of(column) is Measure.TIME]
    selected = [f"{as_number_sql(column)} AS c{place}" for place, column in enumerate(usable)]
    selected += [
        f"CAST(date_part('{part}', {quote(column.name)}) AS DOUBLE) AS t{place}{part}"
        for place, column in enumerate(times)
        for part in PARTS
    ]
    query = f"SELECT {', '.join(selected or ['NULL'])} FROM {picked_sql(data, SAMPLED_ROWS)}"
    read = connection.sql(query).to_arrow_table()
    columns: dict[Measure, dict[str, Floats]] = {measure: {} for measure in Measure}
    for place, column in enumerate(usable):
        columns[measure_of(column) or Measure.CODE][column.name] = to_floats(read.column(f"c{place}"))
    tolerances = {name: tolerance_of(values) for name, values in columns[Measure.NUMBER].items()}
    return Sample(
        columns=columns,
        parts={
            (column.name, part): to_floats(read.column(f"t{place}{part}"))
            for place, column in enumerate(times)
            for part in PARTS
        },
        tolerances=tolerances,
        whole=frozenset(name for name, tolerance in tolerances.items() if tolerance >= WHOLE),
    )


def tolerance_of(values: Floats) -> float:
    """Half of a number's last decimal; of one without an end, what floating-point arithmetic is off by."""
    known = values[np.isfinite(values)]
    for decimals in range(_MOST_DECIMALS + 1):
        if np.allclose(known, np.round(known, decimals), rtol=1e-12, atol=1e-9):
            return WHOLE * 10.0**-decimals
    largest = float(np.abs(known).max(initial=1.0))
    return 10.0 ** (math.ceil(math.log10(largest)) - 9)  # of its order: the number itself is somebody's


def to_floats(column: pa.ChunkedArray) -> Floats:
    """A column of doubles, NaN where there is nothing finite."""
    values = column.cast(pa.float64()).to_numpy().astype(np.float64)
    return np.where(np.isfinite(values), values, np.nan)
