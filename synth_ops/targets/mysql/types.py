"""Types in MySQL's words, and how a value gets into a column of one out of CSV."""

from __future__ import annotations

import re

from synth_ops import sql
from synth_ops.metadata import Column

_DECLARED = {
    "BOOLEAN": "boolean",
    "TINYINT": "tinyint",
    "UTINYINT": "tinyint unsigned",
    "SMALLINT": "smallint",
    "USMALLINT": "smallint unsigned",
    "INTEGER": "int",
    "UINTEGER": "int unsigned",
    "BIGINT": "bigint",
    "UBIGINT": "bigint unsigned",
    "HUGEINT": "decimal(39)",
    "UHUGEINT": "decimal(39)",
    "FLOAT": "float",
    "REAL": "float",
    "DOUBLE": "double",
    "BLOB": "longblob",
    "DATE": "date",
    "TIME": "time(6)",
    "UUID": "char(36)",
}
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_NESTED = re.compile(r".*\]$|STRUCT|MAP|UNION|JSON", re.DOTALL)
_KEY_LENGTH = 255
_GEOMETRY = (
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection",
    "geomcollection",
)  # fmt: skip
_FAMILIES = {
    **dict.fromkeys(("boolean", "tinyint", "smallint", "mediumint", "int", "bigint", "year"), "number"),
    **dict.fromkeys(("decimal", "numeric", "float", "double", "real"), "number"),
    **dict.fromkeys(("date", "datetime", "timestamp"), "time"),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), "bytes"),
    **dict.fromkeys(_GEOMETRY, "geometry"),
    "bit": "bits",
    "time": "time of day",
}
"""Types between which values pass; any other type is read from text."""
_NUMBERS = ("bit", "year")
"""What takes the text '1' or '0' for something other than the number."""


def family(type_name: str) -> str:
    """What a type's values are, roughly; empty for those that are read from text.

    >>> family("bigint(20) unsigned"), family("datetime(6)"), family("varchar(9)")
    ('number', 'time', '')
    """
    word = re.match(r"\w*", type_name.lower())
    return _FAMILIES.get(word[0] if word else "", "")


def declared(column: Column, *, in_key: bool, native: bool) -> str:
    """MySQL's type for a column: the source's own word where it was one.

    >>> declared(Column(name="a", type="VARCHAR", native_type="varchar(9)"), in_key=True, native=True)
    'varchar(9)'
    >>> declared(Column(name="a", type="VARCHAR"), in_key=True, native=False)
    'varchar(255)'
    """
    kind = column.type.strip().upper()
    if native and column.native_type and kind != "JSON":  # MariaDB's own is a text that a CHECK guards
        return column.native_type
    if decimal := _DECIMAL.fullmatch(kind):
        return f"decimal({decimal[1]},{decimal[2]})"
    if _NESTED.match(kind):
        return "json"
    if kind.startswith("TIMESTAMP"):
        return "datetime(6)"
    return _DECLARED.get(kind, f"varchar({_KEY_LENGTH})" if in_key else "longtext")


def value_sql(column: Column, shift: int = 0) -> str:
    """A DuckDB expression for a value as MySQL reads it from text; what it has no number for becomes NULL.

    Args:
        shift: How much is added to it; 0 for anything but a number.
    """
    if shift:
        return f"CAST({sql.quote(column.name)} AS BIGINT) + {shift}"
    name, kind = sql.quote(column.name), column.type.strip().upper()
    texts = {
        "BOOLEAN": f"CAST({name} AS TINYINT)",
        "BLOB": f"hex({name})",
        "JSON": f"CAST({name} AS VARCHAR)",
        "TIMESTAMP WITH TIME ZONE": f"CAST({name} AT TIME ZONE 'UTC' AS VARCHAR)",
        **dict.fromkeys(("FLOAT", "REAL", "DOUBLE"), f"CASE WHEN isfinite({name}) THEN {name} END"),
    }
    return texts.get(kind) or (f"CAST(to_json({name}) AS VARCHAR)" if _NESTED.match(kind) else name)


def read_sql(column: Column, text: str, *, native: bool) -> str:
    """MySQL's expression for a value out of the text that `value_sql` made; empty where it reads the text itself.

    Args:
        text: The variable that holds it.
    """
    own = re.match(r"\w*", column.native_type.lower())
    word = own[0] if own and native else ""
    if word in _GEOMETRY:
        return f"ST_GeomFromText({text})"
    if word in _NUMBERS:
        return f"CAST({text} AS UNSIGNED)"
    return f"unhex({text})" if column.type.strip().upper() == "BLOB" else ""
