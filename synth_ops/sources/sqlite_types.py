"""What a SQLite column holds, from its declared type and its data.

SQLite stores any value in any column; a type is given to a column only where every value fits it. Each declared type
has a list of candidates; all columns of a table are tested in one aggregate query a round, nearly always one.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence

from synth_ops.metadata import ForeignKey
from synth_ops.sql import quote

TEXT = "VARCHAR"
_COLUMNS_A_QUERY = 200  # SQLite's result rows are limited to 2,000 columns
# '+0 days' makes SQLite normalise a date that does not exist, so that it differs from what was written
_IS_TEXT = "typeof({c}) = 'text'"
_IS_DATE = "length({c}) = 10 AND date({c}, '+0 days') = {c} AND {c} >= '0001-01-01'"
_IS_MINUTE = (
    "length({c}) = 16 AND {c} >= '0001' AND strftime('%Y-%m-%d %H:%M', {c}, '+0 days') = replace({c}, 'T', ' ')"
)
_STARTS_WITH_TIME = "{c} >= '0001' AND datetime(substr({c}, 1, 19), '+0 days') = replace(substr({c}, 1, 19), 'T', ' ')"
_ZONE_LENGTH = "(CASE WHEN substr({c}, -1) = 'Z' THEN 1 ELSE 6 END)"
_HAS_ZONE = "(substr({c}, -1) = 'Z' OR substr({c}, -6) GLOB '[+-][0-1][0-9]:[0-5][0-9]')"


def _is_fraction(text: str) -> str:
    digits = f"substr({text}, 2)"
    return f"({text} = '' OR ({text} GLOB '.[0-9]*' AND {digits} NOT GLOB '*[^0-9]*' AND length({text}) <= 7))"


_IS_PLAIN_TIME = (
    f"{_IS_TEXT} AND (({_IS_DATE}) OR ({_IS_MINUTE}) OR ({_STARTS_WITH_TIME} AND {_is_fraction('substr({c}, 20)')}))"
)
_FRACTION_BEFORE_ZONE = f"substr({{c}}, 20, length({{c}}) - 19 - {_ZONE_LENGTH})"
_IS_ZONED_TIME = f"{_IS_TEXT} AND {_STARTS_WITH_TIME} AND {_HAS_ZONE} AND {_is_fraction(_FRACTION_BEFORE_ZONE)}"

_NUMBERS = (("BIGINT", "typeof({c}) = 'integer'"), ("DOUBLE", "typeof({c}) IN ('integer', 'real')"))
_BLOBS = (("BLOB", "typeof({c}) = 'blob'"),)
_BOOLEANS = (("BOOLEAN", "typeof({c}) = 'integer' AND {c} IN (0, 1)"),)
_DATES = (("DATE", f"{_IS_TEXT} AND {_IS_DATE}"),)
_TIMES = (("TIMESTAMP", _IS_PLAIN_TIME), ("TIMESTAMP WITH TIME ZONE", _IS_ZONED_TIME))
_BY_AFFINITY = {
    "INTEGER": _NUMBERS,
    "TEXT": (),
    "BLOB": (*_BLOBS, *_NUMBERS),
    "REAL": _NUMBERS[1:],
    "NUMERIC": _NUMBERS,
}


def affinity(declared: str) -> str:
    """SQLite's own rule from a declared type to what it prefers to store.

    >>> [affinity(t) for t in ("INTEGER", "varchar(10)", "", "double", "decimal(10,2)")]
    ['INTEGER', 'TEXT', 'BLOB', 'REAL', 'NUMERIC']
    """
    name = declared.upper()
    if "INT" in name:
        return "INTEGER"
    if any(word in name for word in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if not name or "BLOB" in name:
        return "BLOB"
    return "REAL" if any(word in name for word in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


def candidates(declared: str) -> tuple[tuple[str, str], ...]:
    """The DuckDB types that a column of a declared type may get, in order of preference, each with its condition.

    A condition is SQL about the value `{c}`. Where none holds, the column is read as text.

    >>> candidates("JSON"), candidates("text")
    ((), ())
    """
    name = declared.upper().strip()
    if name.startswith("JSON"):
        return ()
    if name.startswith("BOOL"):
        return (*_BOOLEANS, *_NUMBERS)
    if name.startswith(("DATETIME", "TIMESTAMP")):
        return (*_TIMES, *_NUMBERS)
    if name == "DATE":
        return (*_DATES, *_TIMES, *_NUMBERS)
    if not name:
        return (*_NUMBERS, *_BLOBS)
    return (*_decimal(name), *_BY_AFFINITY[affinity(declared)])


def choose_types(
    connection: sqlite3.Connection, table: str, declared: Mapping[str, str]
) -> tuple[dict[str, str], frozenset[str]]:
    """A DuckDB type for every column of a table.

    Args:
        table: Its quoted name.
        declared: The declared types, by column name.

    Returns:
        The types by column name, and the columns whose values don't fit what was declared, read as text.
    """
    waiting = {name: list(candidates(kind)) for name, kind in declared.items()}
    types: dict[str, str] = {}
    while waiting:
        exhausted = [name for name, options in waiting.items() if not options]
        for name in exhausted:
            types[name] = TEXT
            del waiting[name]
        trial = {name: options.pop(0) for name, options in waiting.items()}
        for name in _holding(connection, table, {name: condition for name, (_, condition) in trial.items()}):
            types[name] = trial[name][0]
            del waiting[name]
    mixed = (name for name, kind in types.items() if kind == TEXT and candidates(declared[name]))
    return {name: types[name] for name in declared}, frozenset(mixed)


def align(
    connection: sqlite3.Connection, types: dict[tuple[str, str], str], keys: Sequence[tuple[str, ForeignKey]]
) -> list[tuple[str, str]]:
    """Give columns that refer to each other the same type, in place: SQLite compares them whatever they hold.

    Args:
        types: By table and column.
        keys: Each with its child table.

    Returns:
        The columns that became text by this.
    """
    pairs = [
        ((child, column), (key.parent, other))
        for child, key in keys
        for column, other in zip(key.columns, key.parent_columns, strict=True)
    ]
    became_text: dict[tuple[str, str], None] = {}
    widened: set[tuple[str, str]] = set()  # a type that gave way to a wider one does not come back
    while unequal := [pair for pair in pairs if types[pair[0]] != types[pair[1]]]:
        for pair in unequal:
            kinds = {types[place] for place in pair}
            if "BIGINT" in kinds and widened.isdisjoint(pair) and _all_whole(connection, pair):
                common = "BIGINT"
            else:
                common = _common(kinds)
                widened.update(pair)
            if common == TEXT:
                became_text.update(dict.fromkeys(place for place in pair if types[place] != TEXT))
            types.update(dict.fromkeys(pair, common))
    return list(became_text)


def _decimal(name: str) -> tuple[tuple[str, str], ...]:
    match = re.fullmatch(r"(?:DEC|DECIMAL|NUMERIC|NUMBER|MONEY)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", name)
    precision, scale = (int(match[1]), int(match[2] or 0)) if match else (0, 0)
    if not 0 < scale <= precision <= 38:  # noqa: PLR2004  # the widest decimal; whole numbers are BIGINT
        return ()
    fits = (
        f"typeof({{c}}) IN ('integer', 'real') AND round({{c}}, {scale}) = {{c}} AND abs({{c}}) < 1e{precision - scale}"
    )
    return ((f"DECIMAL({precision},{scale})", fits),)


def _holding(connection: sqlite3.Connection, table: str, conditions: Mapping[str, str]) -> list[str]:
    """Those columns whose every value that is not NULL meets its condition."""
    names = list(conditions)
    found: list[str] = []
    for start in range(0, len(names), _COLUMNS_A_QUERY):
        part = names[start : start + _COLUMNS_A_QUERY]
        tests = ", ".join(
            f"min({quote(name)} IS NULL OR coalesce({conditions[name].replace('{c}', quote(name))}, 0))"
            for name in part
        )
        row = connection.execute(f"SELECT {tests} FROM {table}").fetchone()
        found += [name for name, holds in zip(part, row, strict=True) if holds in (None, 1)]
    return found


def _all_whole(connection: sqlite3.Connection, places: Sequence[tuple[str, str]]) -> bool:
    """Whether all values of the columns are whole numbers, be they written as text."""
    whole = (
        "(typeof({c}) = 'real' AND {c} = CAST({c} AS INTEGER)) "
        "OR CAST({c} AS TEXT) = CAST(CAST({c} AS INTEGER) AS TEXT)"
    )
    return all(_holding(connection, quote(table), {column: whole}) for table, column in places)


def _common(kinds: set[str]) -> str:
    if kinds == {"DATE", "TIMESTAMP"}:
        return "TIMESTAMP"
    numbers = {kind for kind in kinds if kind in ("BIGINT", "DOUBLE", "BOOLEAN") or kind.startswith("DECIMAL")}
    if numbers != kinds:
        return TEXT
    return "BIGINT" if kinds == {"BIGINT", "BOOLEAN"} else "DOUBLE"
