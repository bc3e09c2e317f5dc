"""Both databases side by side in one DuckDB: the schemas `source` and `copy`."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from synth_ops import sql
from synth_ops.artifacts import Evidence, Severity, TableData
from synth_ops.errors import refuse_interruption
from synth_ops.metadata import Column, Kind, Metadata, Table, subject_path
from synth_ops.ports import CheckContext, Threshold

SOURCE, COPY = "source", "copy"
SAMPLE_ROWS = 100_000
_LEARNED = frozenset({Kind.CATEGORICAL, Kind.NUMERICAL, Kind.DATETIME, Kind.GEO})
_FLOATS = frozenset({"FLOAT", "DOUBLE", "REAL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """An open look at both databases.

    Attributes:
        source, copy: Column names and DuckDB types of every table that could be read.
    """

    connection: duckdb.DuckDBPyConnection
    context: CheckContext
    source: Mapping[str, Mapping[str, str]]
    copy: Mapping[str, Mapping[str, str]]

    @property
    def metadata(self) -> Metadata:
        """The snapshot's."""
        return self.context.snapshot.metadata

    def row(self, query: str) -> tuple[Any, ...]:
        """The one row of a query's result."""
        rows = self.connection.execute(query).fetchall()
        return tuple(rows[0])

    def number(self, query: str) -> float:
        """The one number of a query's result; NaN for NULL."""
        value = self.row(query)[0]
        return math.nan if value is None else float(value)

    def sample_sql(self, schema: str, table: str, limit: int = SAMPLE_ROWS) -> str:
        """A query for all rows of a table, or about `limit` of them, the same for the same seed."""
        data = (self.context.snapshot if schema == SOURCE else self.context.copy).tables[table]
        rows = f"SELECT * FROM {sql.relation_sql(data)}"
        if data.rows <= limit:
            return rows
        return f"{rows} WHERE hash(file_index, file_row_number, {self.context.seed}) % {data.rows} < {limit}"


@contextlib.contextmanager
def open_views(context: CheckContext, *, memory_limit: str = sql.MEMORY_LIMIT) -> Iterator[Views]:
    """Open both databases, and nothing else: SQL of CHECKs and suites can't reach other files.

    Args:
        memory_limit: What is beyond it waits on disk.
    """
    with sql.connect(memory_limit=memory_limit) as connection:
        source = _register(connection, context.snapshot.tables, SOURCE)
        copy = _register(connection, context.copy.tables, COPY)
        files = [
            file
            for tables in (context.snapshot.tables, context.copy.tables)
            for d in tables.values()
            for file in d.files
        ]
        connection.execute("SET allowed_paths = ?", [[str(file) for file in files]])
        connection.execute("SET enable_external_access = false")
        connection.execute(f"SET search_path = '{COPY}'")
        yield Views(connection=connection, context=context, source=source, copy=copy)


def view_sql(schema: str, table: str) -> str:
    """The quoted name of a table's view."""
    return f"{sql.quote(schema)}.{sql.quote(table)}"


def learned_columns(table: Table) -> list[Column]:
    """The columns whose values a generator learns: no keys, no references, nothing that a provider makes."""
    keys = {column for key in table.foreign_keys for column in key.columns}
    keys |= {key[0] for key in table.keys if len(key) == 1}
    return [column for column in table.columns if column.kind in _LEARNED and column.name not in keys]


def is_text(column: Column) -> bool:
    """Whether a learned column holds texts; its values are then kept whole or not at all."""
    return column.type.startswith(("VARCHAR", "JSON", "ENUM"))


def value_sql(column: Column, owner: str = "") -> str:
    """A column's values, with what is not finite as NULL."""
    name = f"{owner}.{sql.quote(column.name)}" if owner else sql.quote(column.name)
    if column.type in _FLOATS or column.type.startswith(("TIMESTAMP", "DATE")):
        return f"CASE WHEN isfinite({name}) THEN {name} END"
    return name


def subjects_of(metadata: Metadata, table: str) -> tuple[str, str]:
    """The source's rows with their subjects, as a table expression, and the aggregate that counts those of a group.

    A row of nobody known counts as one.
    """
    if stands_alone(metadata, table):
        return f"(SELECT *, NULL::UBIGINT AS {sql.SUBJECT} FROM {view_sql(SOURCE, table)})", "count(*)"
    count = f"(count(DISTINCT {sql.SUBJECT}) + count(*) FILTER (WHERE {sql.SUBJECT} IS NULL))"
    return f"({sql.subjects_sql(metadata, table, SOURCE)})", count


def stands_alone(metadata: Metadata, table: str) -> bool:
    """Whether every row of a table is its own subject."""
    return not subject_path(metadata, table)


def limit(context: CheckContext, defaults: Mapping[str, Threshold], name: str) -> Threshold:
    """The user's threshold of a measure, or its default."""
    return context.thresholds.get(name, defaults[name])


def measured(
    measure: Callable[[], Iterable[Evidence]], *, check: str, subject: str = "", table: str = ""
) -> list[Evidence]:
    """What `measure` finds, with its time and table; where it can't be measured, evidence that no limit lets pass.

    Args:
        measure: Says nothing of the time it took, or by each piece of evidence.
        check, subject: What could not be measured, if so.
        table: The table that it is about, where the evidence names none.
    """
    started = time.perf_counter()
    try:
        found = list(measure())
    except (duckdb.Error, ArithmeticError, LookupError, ValueError) as error:  # only the class: texts may hold values
        refuse_interruption(error)
        return [failed(check=check, subject=subject, table=table, reason=type(error).__name__)]
    seconds = (time.perf_counter() - started) / max(len(found), 1)
    return [replace(each, seconds=each.seconds or seconds, table=each.table or table) for each in found]


def failed(
    *, check: str, reason: str, subject: str = "", table: str = "", severity: Severity = Severity.CRITICAL
) -> Evidence:
    """Evidence that never passes, on a table or on what else is named."""
    detail = f"could not be measured: {reason}"
    return Evidence(
        check=check,
        subject=subject or table,
        value=math.nan,
        n=0,
        maximum=0.0,
        severity=severity,
        detail=detail,
        table=table,
    )


def _register(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[str, TableData], schema: str
) -> dict[str, dict[str, str]]:
    """Make the views of all tables that can be read; the integrity check reports those that can't."""
    readable = {}
    sql.register(connection, {}, schema)
    for name, data in tables.items():
        try:
            sql.register(connection, {name: data}, schema)
            described = connection.execute(f"DESCRIBE {view_sql(schema, name)}").fetchall()
        except duckdb.Error:
            continue
        readable[name] = {str(row[0]): str(row[1]) for row in described}
    return readable
