"""How DuckDB's types and values are said in PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from synth_ops import sql
from synth_ops.metadata import Column

_DECLARED = {
    "BOOLEAN": "boolean",
    "TINYINT": "smallint",
    "UTINYINT": "smallint",
    "SMALLINT": "smallint",
    "USMALLINT": "integer",
    "INTEGER": "integer",
    "UINTEGER": "bigint",
    "BIGINT": "bigint",
    "UBIGINT": "numeric(20)",
    "HUGEINT": "numeric(39)",
    "UHUGEINT": "numeric(39)",
    "FLOAT": "real",
    "REAL": "real",
    "DOUBLE": "double precision",
    "VARCHAR": "text",
    "BLOB": "bytea",
    "DATE": "date",
    "TIME": "time",
    "TIME_NS": "time",
    "TIME WITH TIME ZONE": "timetz",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP_S": "timestamp",
    "TIMESTAMP_MS": "timestamp",
    "TIMESTAMP_NS": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "INTERVAL": "interval",
    "UUID": "uuid",
    "BIT": "bit varying",
    "JSON": "jsonb",
}
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_LIST = re.compile(r"(.*)\[\d*\]$", re.DOTALL)
_WRITTEN = {"BLOB", "INTERVAL", "BIT", "JSON", "TIME WITH TIME ZONE", "UUID"}
_ENDLESS = {kind for kind in _DECLARED if kind.startswith(("DATE", "TIMESTAMP"))}
"""Arrow knows no time without end, and writes a day of the year 5,881,580 for it."""
_AS_THEY_ARE = frozenset(_DECLARED) - _WRITTEN - _ENDLESS

FAMILIES = {
    "boolean": "boolean",
    "smallint": "number",
    "integer": "number",
    "bigint": "number",
    "numeric": "number",
    "real": "number",
    "double precision": "number",
    "date": "time",
    "timestamp": "time",
    "timestamptz": "time",
    "timestamp without time zone": "time",
    "timestamp with time zone": "time",
    "time": "time of day",
    "timetz": "time of day",
    "time without time zone": "time of day",
    "time with time zone": "time of day",
    "bytea": "bytes",
    "interval": "interval",
    "jsonb": "document",
    "json": "document",
}
"""Types between which values pass; any other type is read from text."""


def declared(kind: str) -> str:
    """PostgreSQL's type for one of DuckDB's.

    >>> [declared(kind) for kind in ("DECIMAL(10,2)", "VARCHAR[]", "STRUCT(a INTEGER)[]", "ENUM('a', 'b')")]
    ['numeric(10,2)', 'text[]', 'jsonb', 'text']
    """
    kind = kind.strip()
    if decimal := _DECIMAL.fullmatch(kind.upper()):
        return f"numeric({decimal[1]},{decimal[2]})"
    if inner := _LIST.fullmatch(kind):
        element = declared(inner[1])
        return element if element == "jsonb" else f"{element}[]"
    if kind.upper().startswith(("STRUCT", "MAP", "UNION")):
        return "jsonb"
    return _DECLARED.get(kind.upper(), "text")


def family(type_name: str) -> str:
    """What a type's values are, roughly; empty for those that are read from text.

    >>> family("numeric(10,2)"), family("character varying(20)"), family("timestamp(3) without time zone")
    ('number', '', 'time')
    """
    return FAMILIES.get(re.sub(r"\([^)]*\)", "", type_name).strip(), "")


def text_sql(kind: str, value: str) -> str:
    """A DuckDB expression for a value that Arrow's CSV writer writes as PostgreSQL reads it.

    Args:
        kind: The column's type in DuckDB's words.
        value: A DuckDB expression of that type.
    """
    upper = kind.strip().upper()
    if upper in _AS_THEY_ARE or _DECIMAL.fullmatch(upper):
        return value
    if upper == "BLOB":
        return f"'\\x' || lower(hex({value}))"
    if inner := _LIST.fullmatch(kind.strip()):
        if declared(kind) == "jsonb":
            return f"CAST(to_json({value}) AS VARCHAR)"
        return _array_sql(inner[1], value)
    if upper.startswith(("STRUCT", "MAP", "UNION")):
        return f"CAST(to_json({value}) AS VARCHAR)"
    return f"CAST({value} AS VARCHAR)"


def _array_sql(kind: str, value: str, depth: int = 0) -> str:
    """A list as PostgreSQL's array literal: `{"a","b",NULL}`."""
    each = f"x{depth}"
    if inner := _LIST.fullmatch(kind.strip()):
        element = _array_sql(inner[1], each, depth + 1)
    else:
        text = f"CAST({text_sql(kind, each)} AS VARCHAR)"
        escaped = f"replace(replace({text}, '\\', '\\\\'), '\"', '\\\"')"
        element = f"'\"' || {escaped} || '\"'"
    elements = f"list_transform({value}, lambda {each}: coalesce({element}, 'NULL'))"
    # DuckDB joins no list that is empty
    return f"CASE WHEN {value} IS NOT NULL THEN '{{' || coalesce(array_to_string({elements}, ','), '') || '}}' END"


def values_sql(columns: Sequence[Column], rows: str, shifts: Mapping[str, int]) -> str:
    """A DuckDB query for rows as values for the CSV writer.

    Args:
        rows: A table expression.
        shifts: How much is added to a column's values.
    """
    values = ", ".join(_value_sql(column, shifts.get(column.name, 0)) for column in columns)
    return f"SELECT {values} FROM {rows}"


def _value_sql(column: Column, shift: int) -> str:
    name = sql.quote(column.name)
    return f"{f'CAST({name} AS BIGINT) + {shift}' if shift else text_sql(column.type, name)} AS {name}"
