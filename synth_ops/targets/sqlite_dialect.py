"""How DuckDB's types, values and CHECKs are said in SQLite, which knows five classes of values and no NaN."""

from __future__ import annotations

import re
from dataclasses import dataclass

from synth_ops import sql
from synth_ops.metadata import Check, Column, Table

_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
_FLOATS = frozenset({"FLOAT", "DOUBLE", "REAL"})
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_NESTED = re.compile(r".*\]$|STRUCT|MAP|UNION")
_DIGITS_OF_A_DOUBLE = 15
_DIGITS_OF_AN_INTEGER = 18


@dataclass(frozen=True, slots=True)
class Spelling:
    """One type in SQLite.

    Attributes:
        declared: The word for it; SQLite derives from it how values are stored.
        value: A DuckDB expression that turns a column `{}` into an integer, a double, text or bytes.
        comparable: Whether SQLite compares the stored values as DuckDB compares the real ones, with literals too.
    """

    declared: str
    value: str
    comparable: bool = False


_TEXT = Spelling("TEXT", "CAST({} AS VARCHAR)")


def spelling(column: Column) -> Spelling:
    """How a column is declared and written.

    Decimals of more than 15 digits and integers of more than 64 bits become text, to read back as they were; lists
    and structs become JSON; dates and times ISO 8601; NaN becomes NULL.
    """
    kind = column.type.upper()
    if kind in _INTEGERS:
        return Spelling("INTEGER", "CAST({} AS BIGINT)", comparable=True)
    if kind in _FLOATS:
        return Spelling("REAL", "CASE WHEN NOT isnan({0}) THEN CAST({0} AS DOUBLE) END", comparable=True)
    if decimal := _DECIMAL.fullmatch(kind):
        return _decimal(int(decimal[1]), int(decimal[2]))
    if _NESTED.match(kind):
        return Spelling("TEXT", "CAST(to_json({}) AS VARCHAR)")
    return {
        "BOOLEAN": Spelling("BOOLEAN", "CAST({} AS TINYINT)", comparable=True),
        "VARCHAR": Spelling("TEXT", "CAST({} AS VARCHAR)", comparable=True),
        "BLOB": Spelling("BLOB", "{}"),
        "DATE": Spelling("DATE", "CAST({} AS VARCHAR)"),
        "TIME": Spelling("TIME", "CAST({} AS VARCHAR)"),
        "TIMESTAMP": Spelling("TIMESTAMP", "CAST({} AS VARCHAR)"),
        "TIMESTAMP WITH TIME ZONE": Spelling("TIMESTAMP", "CAST({} AT TIME ZONE 'UTC' AS VARCHAR) || '+00:00'"),
    }.get(kind, _TEXT)


def check_sql(table: Table, check: Check) -> str | None:
    """A CHECK in SQLite's dialect; None when it can't be said there with the same meaning."""
    from sqlglot import parse_one
    from sqlglot.errors import ErrorLevel, SqlglotError

    if not all(spelling(table.column(name)).comparable for name in check.columns):
        return None
    try:
        expression = parse_one(check.expression, read="duckdb")
        return expression.sql(dialect="sqlite", identify=True, unsupported_level=ErrorLevel.RAISE)
    except SqlglotError:
        return None


def values_sql(table: Table, rows: str) -> str:
    """A DuckDB query for a table's rows as values that SQLite stores."""
    values = ", ".join(spelling(column).value.format(sql.quote(column.name)) for column in table.columns)
    return f"SELECT {values} FROM {rows}"


def _decimal(precision: int, scale: int) -> Spelling:
    declared = f"NUMERIC({precision},{scale})"
    if scale == 0 and precision <= _DIGITS_OF_AN_INTEGER:
        return Spelling(declared, "CAST({} AS BIGINT)", comparable=True)
    if precision <= _DIGITS_OF_A_DOUBLE:
        return Spelling(declared, "CAST({} AS DOUBLE)", comparable=True)
    return _TEXT
