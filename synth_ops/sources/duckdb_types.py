"""Which DuckDB types survive Arrow and Parquet, and how a column is read so that it does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from synth_ops.errors import SynthOpsError
from synth_ops.metadata import Check, Column
from synth_ops.sources.arrow_stream import stream
from synth_ops.sql import columns_sql, quote

if TYPE_CHECKING:
    from collections.abc import Callable

_READ_ROWS = 2048
_COARSE_TIMESTAMPS = ("TIMESTAMP_S", "TIMESTAMP_MS")
_WIDE_INTEGERS = ("HUGEINT", "UHUGEINT")
_WIDEST = 10**38
_NOT_IN_PARQUET = re.compile(
    r"\b(UNION|BIT|INTERVAL|TIME WITH TIME ZONE|U?HUGEINT|VARIANT|BIGNUM|GEOMETRY|ENUM|NULL)\b|^\"NULL\"$|\[\d+\](?!$)"
)


def storable_type(native: str) -> str:
    """The type in which a column of a DuckDB type is read and stored.

    >>> [storable_type(t) for t in ("INTEGER", "ENUM('a')", "INTEGER[3]", "TIMESTAMP_S", "INTERVAL", "HUGEINT")]
    ['INTEGER', 'VARCHAR', 'INTEGER[]', 'TIMESTAMP', 'VARCHAR', 'DECIMAL(38,0)']
    """
    if native in _COARSE_TIMESTAMPS:
        return "TIMESTAMP"
    if native in _WIDE_INTEGERS:
        return "DECIMAL(38,0)"
    if _NOT_IN_PARQUET.search(native):
        return "VARCHAR"
    return re.sub(r"\[\d+\]$", "[]", native)


NOT_A_CONDITION = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.ConversionException)
"""What DuckDB raises for a condition that it can't evaluate."""


def enum_check(name: str, native: str) -> Check | None:
    """The CHECK that says what an ENUM column may hold; its labels are part of the schema."""
    if not native.startswith("ENUM("):
        return None
    return Check(expression=f"{quote(name)} IN {native.removeprefix('ENUM')}", columns=(name,))


def reflect_columns(
    connection: duckdb.DuckDBPyConnection, table: str, declared: Sequence[tuple[str, str, bool]]
) -> tuple[Column, ...]:
    """Columns of a table expression, from their names, DuckDB types and nullability."""
    too_wide = _too_wide(connection, table, [name for name, native, _ in declared if native in _WIDE_INTEGERS])
    return tuple(
        Column(
            name=name,
            type="VARCHAR" if name in too_wide else storable_type(native),
            native_type=native,
            nullable=nullable,
        )
        for name, native, nullable in declared
    )


def type_warnings(table: str, columns: Sequence[Column]) -> list[str]:
    """A line for every column that is copied as text although it is none."""
    return [
        f"column {column.name!r} of table {table!r} is copied as text: {column.native_type.partition('(')[0]}"
        for column in columns
        if column.type == "VARCHAR" and not column.native_type.startswith(("VARCHAR", "ENUM("))
    ]


def read_columns(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Sequence[Column],
    failure: Callable[[Exception], SynthOpsError],
) -> pa.RecordBatchReader:
    """Stream columns of a table expression, each cast to its stored type. UUIDs and JSON come as text.

    Args:
        connection: One of its own: a stream keeps it busy until it ends.
    """
    selected = ", ".join(
        quote(column.name)
        if column.type == column.native_type
        else f"CAST({quote(column.name)} AS {column.type}) AS {quote(column.name)}"
        for column in columns
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        reader = connection.sql(f"SELECT {selected} FROM {table}").to_arrow_reader(_READ_ROWS)
    except Exception as error:  # noqa: BLE001  # whatever the driver raises may hold a value
        raise failure(error) from None
    return stream(reader.schema, reader, failure)


def _too_wide(connection: duckdb.DuckDBPyConnection, table: str, names: Sequence[str]) -> set[str]:
    """Those wide integer columns that DECIMAL(38,0) can't hold."""
    if not names:
        return set()
    fits = ", ".join(
        f"coalesce(max({quote(name)}) < {_WIDEST} AND min({quote(name)}) > -{_WIDEST}, true)" for name in names
    )
    (row,) = connection.execute(f"SELECT {fits} FROM (SELECT {columns_sql(names)} FROM {table})").fetchall()
    return {name for name, fit in zip(names, row, strict=True) if not fit}
