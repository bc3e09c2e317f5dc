"""The learned columns of one table on both sides, as numbers and codes that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synth_ops import sql
from synth_ops.checks.distances import (
    Coded,
    Distance,
    binned,
    categorised,
    common_size,
    kolmogorov_smirnov,
    total_variation,
)
from synth_ops.checks.views import COPY, SAMPLE_ROWS, SOURCE, Views, is_text, learned_columns, subjects_of
from synth_ops.metadata import Column, Kind, Table
from synth_ops.sql import K_SUBJECTS

_CATEGORIES, _PAIR_CELLS = 100, 10
_LEARNABLE_NUMBERS = 2 * K_SUBJECTS
"""A generator may blur the number of subjects that it asks for; below this many it may show nothing."""
_TIMES = ("DATE", "TIME")
_NOT_COMPARED = ("STRUCT", "MAP", "UNION", "BLOB", "BIT", "INTERVAL")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedColumn:
    """One column: how far it is off, and how it stands in pairs."""

    name: str
    distance: Distance
    coded: Coded


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTable:
    """The columns of one table of which enough people have values.

    Attributes:
        size: How many independent draws the noisier side amounts to; rows of one person count once.
    """

    columns: Sequence[ComparedColumn]
    size: float


def compare(views: Views, table: Table) -> ComparedTable:
    """Compare the learned columns of a table, on a sample of its rows.

    Raises:
        duckdb.Error: It can't be read on one side.
    """
    columns = [each for each in learned_columns(table) if not is_nested(each)]
    if not columns:
        return ComparedTable(columns=(), size=1.0)
    rows, count = subjects_of(views.metadata, table.name)
    known = ", ".join(_people_sql(column, counts_rows=count == "count(*)") for column in columns)
    subjects, *known_subjects = views.row(f"SELECT {count}, {known} FROM {rows}")
    size = _size(views, table, subjects)
    source, copy = (_sample(views, schema, table, columns) for schema in (SOURCE, COPY))
    compared = []
    for column, people in zip(columns, known_subjects, strict=True):
        sides = source.column(column.name), copy.column(column.name)
        found = (
            _compare_numbers(column, *sides, size, people)
            if number_sql(column)
            else _compare_categories(column, *sides, size, _frequent_values(views, table, column))
        )
        compared += [found] if found else []
    return ComparedTable(columns=compared, size=size)


def is_nested(column: Column) -> bool:
    """Whether a column's values can't be compared as numbers or texts."""
    return column.type.endswith("]") or column.type.startswith(_NOT_COMPARED)


def _people_sql(column: Column, *, counts_rows: bool) -> str:
    """How many subjects have a value."""
    name = sql.quote(column.name)
    if counts_rows:
        return f"count({name})"
    owner = f"CASE WHEN {name} IS NOT NULL THEN {sql.SUBJECT} END"
    return f"count(DISTINCT {owner}) + count({name}) FILTER (WHERE {sql.SUBJECT} IS NULL)"


def _size(views: Views, table: Table, subjects: int) -> float:
    source, copy = views.context.snapshot.tables[table.name].rows, views.context.copy.tables[table.name].rows
    copied = subjects * copy / source if source else 0
    return common_size(min(subjects, source, SAMPLE_ROWS), min(copied, copy, SAMPLE_ROWS))


def _sample(views: Views, schema: str, table: Table, columns: Sequence[Column]) -> Any:
    expressions = ", ".join(
        f"{number_sql(column) or _text_sql(column)} AS {sql.quote(column.name)}" for column in columns
    )
    return _arrow(views, f"SELECT {expressions} FROM ({views.sample_sql(schema, table.name)})")


def number_sql(column: Column) -> str:
    """A column as floating-point numbers (times: microseconds); empty for categories."""
    name = sql.quote(column.name)
    if column.kind is Kind.CATEGORICAL or is_text(column):
        return ""
    if column.type.startswith(_TIMES):
        return f"CAST(TRY(epoch_us({name})) AS DOUBLE)"  # there are dates beyond any microsecond
    return f"TRY_CAST({name} AS DOUBLE)"


def _text_sql(column: Column) -> str:
    return f"CAST({sql.quote(column.name)} AS VARCHAR)"


def _compare_numbers(column: Column, source: Any, copy: Any, size: float, people: int) -> ComparedColumn | None:
    numbers, others = (each.to_numpy(zero_copy_only=False).astype(float) for each in (source, copy))
    if 0 < people < _LEARNABLE_NUMBERS:
        return None
    distance = kolmogorov_smirnov(numbers, others, size)
    return ComparedColumn(name=column.name, distance=distance, coded=binned(numbers, others, _PAIR_CELLS))


def _compare_categories(column: Column, source: Any, copy: Any, size: float, known: Any) -> ComparedColumn | None:
    distance = total_variation(categorised(source, copy, known, _CATEGORIES), size)
    coded = categorised(source, copy, known, _PAIR_CELLS)
    return ComparedColumn(name=column.name, distance=distance, coded=coded) if distance else None


def _frequent_values(views: Views, table: Table, column: Column) -> Any:
    """The values that enough subjects of the source have, the most frequent first."""
    rows, count = subjects_of(views.metadata, table.name)
    values = f"SELECT {_text_sql(column)} AS v, {sql.SUBJECT} FROM {rows} WHERE {sql.quote(column.name)} IS NOT NULL"
    query = f"SELECT v FROM ({values}) GROUP BY v HAVING {count} >= {K_SUBJECTS} ORDER BY count(*) DESC, v"
    return _arrow(views, query).column("v")


def _arrow(views: Views, query: str) -> Any:
    table: Any = views.connection.sql(query).to_arrow_table()
    return table.combine_chunks()
