"""How CSV files are read: delimiter and names from the header line, types from all of the rows, nothing skipped."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from synth_ops.errors import SourceError
from synth_ops.sql import file_literal, literal, quote

if TYPE_CHECKING:
    import duckdb

_DELIMITERS = (",", ";", "\t", "|")
_HEADER_BYTES = 2**20
_SAMPLE_ROWS = 1000
_WHOLE = "-?(0|[1-9][0-9]{0,17})"  # no leading zeros or plus: those are codes and telephone numbers, and stay text
_DECIMAL = f"{_WHOLE}?([.][0-9]+)?([eE][+-]?[0-9]+)?"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_MOMENT = f"{_DAY}[ T][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}([.][0-9]{{1,6}})?)?"


def _written(pattern: str, kind: str) -> tuple[str, str, str]:
    return (kind, f"regexp_full_match({{c}}, '{pattern}') AND TRY_CAST({{c}} AS {kind}) IS NOT NULL", f"{{c}}::{kind}")


def _day_written(pattern: str) -> tuple[str, str, str]:
    return ("DATE", f"try_strptime({{c}}, '{pattern}') IS NOT NULL", f"strptime({{c}}, '{pattern}')::DATE")


_TYPES = (
    ("BOOLEAN", "lower({c}) IN ('true', 'false')", "{c}::BOOLEAN"),
    _written(_WHOLE, "BIGINT"),
    _written(f"{_DECIMAL}|(?i)[+-]?(nan|inf|infinity)", "DOUBLE"),
    _written(_DAY, "DATE"),
    _written(_MOMENT, "TIMESTAMP"),
    _written(f"{_MOMENT}(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)", "TIMESTAMP WITH TIME ZONE"),
    _written("[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?", "TIME"),
    *(_day_written(pattern) for pattern in ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d")),
)
"""Type, the condition that every value must meet, and the conversion; in order of preference."""


def csv_sql(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> str:
    """A table expression over the CSV files of one table, every column converted to its type.

    Raises:
        SourceError: A file has no header line, or another one than the first file.
        duckdb.Error: The rows don't fit together; the message names the line, and holds values.
    """
    delimiter, names = _header(files[0])
    for file in files[1:]:
        if _header(file) != (delimiter, names):
            raise SourceError(
                f"CSV files {files[0].name!r} and {file.name!r} have different header lines",
                "part files of one table need the same columns",
            )
    paths = ", ".join(map(file_literal, files))
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    text = (
        f"read_csv([{paths}], auto_detect = false, columns = {{{columns}}}, delim = {literal(delimiter)}, "
        "quote = '\"', escape = '\"', header = true, null_padding = false, ignore_errors = false, strict_mode = true, "
        "hive_partitioning = false)"
    )
    conversions = _conversions(connection, text, names)
    selected = ", ".join(
        f"{conversions.get(name, '{c}').replace('{c}', quote(name))} AS {quote(name)}" for name in names
    )
    return f"(SELECT {selected} FROM {text})"


def _conversions(connection: duckdb.DuckDBPyConnection, text: str, names: Sequence[str]) -> dict[str, str]:
    """How to convert each column that is not text: found on the first rows, then held against all of them."""
    possible = _possible_types(connection, text)
    waiting = {name: possible.get(name, list(range(len(_TYPES)))) for name in names}
    found: dict[str, str] = {}
    while trial := {name: options.pop(0) for name, options in waiting.items() if options and name not in found}:
        for name in _holding(connection, text, trial):
            found[name] = _TYPES[trial[name]][2]
    return found


def _possible_types(connection: duckdb.DuckDBPyConnection, text: str) -> dict[str, list[int]]:
    """The types that the first rows allow, for every column that has a value there."""
    tests = ", ".join(f"bool_and({condition.replace('{c}', 'value')})" for _, condition, _ in _TYPES)
    cells = f"UNPIVOT (SELECT * FROM {text} LIMIT {_SAMPLE_ROWS}) ON COLUMNS(*) INTO NAME name VALUE value"
    rows = connection.execute(f"SELECT name, {tests} FROM ({cells}) GROUP BY name").fetchall()
    return {name: [option for option, holds in enumerate(results) if holds] for name, *results in rows}


def _holding(connection: duckdb.DuckDBPyConnection, text: str, trial: dict[str, int]) -> list[str]:
    """Those columns of which some values are not NULL and all of these meet a type's condition."""
    tests = ", ".join(
        f"coalesce(bool_and({_TYPES[option][1].replace('{c}', quote(name))}) FILTER ({quote(name)} IS NOT NULL), false)"
        for name, option in trial.items()
    )
    ((*results,),) = connection.execute(f"SELECT {tests} FROM {text}").fetchall()
    return [name for name, holds in zip(trial, results, strict=True) if holds]


def _header(path: Path) -> tuple[str, tuple[str, ...]]:
    """The delimiter (whichever the header holds most often outside quotes) and the columns' names."""
    open_file = gzip.open if path.name.lower().endswith(".gz") else open
    with open_file(path, "rb") as stream:
        line = stream.readline(_HEADER_BYTES)
    try:
        header = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(f"CSV file {path.name!r} is not UTF-8 text", "save it as UTF-8") from None
    if not header.strip():
        raise SourceError(f"CSV file {path.name!r} has no header line", "write the columns' names into its first line")
    tabs = path.name.lower().endswith((".tsv", ".tsv.gz"))
    delimiter = "\t" if tabs else max(_DELIMITERS, key="".join(header.split('"')[::2]).count)
    return delimiter, _distinct(next(csv.reader([header.rstrip("\r\n")], delimiter=delimiter)))


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Every column gets a name of its own, whatever the case."""
    found: dict[str, str] = {}
    for position, name in enumerate(names):
        wanted = unique = name.strip() or f"column{position}"
        number = 1
        while unique.lower() in found:
            unique, number = f"{wanted}_{number}", number + 1
        found[unique.lower()] = unique
    return tuple(found.values())
