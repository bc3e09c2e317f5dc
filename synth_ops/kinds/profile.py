"""What DuckDB can tell of a table's columns in two quick queries: counts, shares and shapes, no values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from synth_ops.artifacts import TableData
from synth_ops.kinds.patterns import NUMBERED, REGULAR, confirmed
from synth_ops.metadata import Column, Table
from synth_ops.sql import is_number, is_text, literal, quote, relation_sql

if TYPE_CHECKING:
    import duckdb

SAMPLE_ROWS = 2_000
"""How many rows, spread over the table, the patterns are tried on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is known of one column's values.

    Attributes:
        values: How many rows are not NULL.
        distinct: About how many different values there are.
        low, high: The range of a number; None for other types.
        sampled: How many values the patterns were tried on.
        length, words: Averages over the sampled texts.
        shares: By pattern, which share of the sampled texts looks like it.
    """

    values: int = 0
    distinct: int = 0
    low: float | None = None
    high: float | None = None
    sampled: int = 0
    length: float = 0.0
    words: float = 0.0
    shares: Mapping[str, float] = field(default_factory=dict)

    @property
    def variety(self) -> float:
        """Distinct values a value: 1 where no value repeats, 0 where there are none."""
        return self.distinct / self.values if self.values else 0.0


def profile(connection: duckdb.DuckDBPyConnection, table: Table, data: TableData) -> dict[str, Profile]:
    """Measure all columns of a table.

    Returns:
        A profile by column name; all zeros where the table is empty.
    """
    if not data.rows:
        return {column.name: Profile() for column in table.columns}
    counted = _counts(connection, table.columns, relation_sql(data))
    texts = [column for column in table.columns if is_text(column.type) and counted[column.name]["values"]]
    looks = _looks(connection, texts, data) if texts else {}
    return {name: Profile(**facts, **looks.get(name, {})) for name, facts in counted.items()}


def _counts(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[Column], relation: str
) -> dict[str, dict[str, Any]]:
    parts: list[str] = []
    for column in columns:
        name = quote(column.name)
        distinct = "0" if column.type.upper() in ("BLOB", "BIT") else f"approx_count_distinct({name})"
        bounds = f"min({name})::DOUBLE, max({name})::DOUBLE" if is_number(column.type) else "NULL, NULL"
        parts.append(f"count({name}), {distinct}, {bounds}")
    row = connection.execute(f"SELECT {', '.join(parts)} FROM {relation}").fetchall()[0]
    return {
        column.name: {
            "values": row[4 * place],
            "distinct": min(row[4 * place], row[4 * place + 1]),
            "low": row[4 * place + 2],
            "high": row[4 * place + 3],
        }
        for place, column in enumerate(columns)
    }


def _looks(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[Column], data: TableData
) -> dict[str, dict[str, Any]]:
    """Lengths, words and patterns of texts, on rows picked by a hash of their place: the same ones every time."""
    step = max(1, data.rows // SAMPLE_ROWS)
    rows = relation_sql(data, row_numbers=True)
    picked = f"(SELECT * FROM {rows} WHERE hash(file_row_number) % {step} = 0 LIMIT {2 * SAMPLE_ROWS})"
    patterns = {**REGULAR, **NUMBERED}
    # CHAR(n) columns come padded with blanks
    parts = [
        f"count({text}), avg(length({text})), avg(length({text}) - length(replace({text}, ' ', '')) + 1), "
        + ", ".join(f"avg(regexp_matches({text}, {literal(regex)})::INT)" for regex in patterns.values())
        for text in (f"trim({quote(column.name)})" for column in columns)
    ]
    row = connection.execute(f"SELECT {', '.join(parts)} FROM {picked}").fetchall()[0]
    width = 3 + len(patterns)
    looks: dict[str, dict[str, Any]] = {}
    for place, column in enumerate(columns):
        sampled, length, words, *shares = row[place * width : (place + 1) * width]
        by_pattern = {name: share or 0.0 for name, share in zip(patterns, shares, strict=True)}
        for name in NUMBERED:
            by_pattern[name] *= _confirmed_share(connection, picked, column, name) if by_pattern[name] else 0.0
        looks[column.name] = {
            "sampled": sampled,
            "length": length or 0.0,
            "words": words or 0.0,
            "shares": by_pattern,
        }
    return looks


def _confirmed_share(connection: duckdb.DuckDBPyConnection, picked: str, column: Column, pattern: str) -> float:
    """Of the values that match a pattern with check digits, the share whose check digits are right."""
    name = f"trim({quote(column.name)})"
    matching = f"regexp_matches({name}, {literal(NUMBERED[pattern])})"
    found = connection.execute(f"SELECT {name} FROM {picked} WHERE {matching} LIMIT 200").fetchall()
    return sum(confirmed(pattern, value) for (value,) in found) / len(found) if found else 0.0
