"""Rows that stay, in PostgreSQL: see `targets.staying` for what that means."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import duckdb
from psycopg import errors

from synth_ops import sql
from synth_ops.artifacts import TableData
from synth_ops.errors import RecipeError
from synth_ops.metadata import Metadata, Table
from synth_ops.ports import PublishRules
from synth_ops.targets import staying
from synth_ops.targets.postgresql.connection import Connection
from synth_ops.targets.postgresql.definitions import place_sql
from synth_ops.targets.postgresql.schema import Plan
from synth_ops.targets.staying import Shifts, Staying

_COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped"
_SHARED_COLUMNS = """
SELECT b.attname FROM pg_attribute b JOIN pg_attribute s ON s.attname = b.attname
WHERE b.attrelid = %s::regclass AND s.attrelid = %s::regclass AND b.attnum > 0 AND s.attnum > 0
    AND NOT b.attisdropped AND NOT s.attisdropped AND b.attgenerated = ''
"""


class _LiveRows:
    """`staying.LiveRows` over one connection."""

    def __init__(self, connection: Connection, plans: Sequence[Plan]) -> None:
        self._connection = connection
        self._plans = {plan.table.name: plan for plan in plans}
        self._aside = 0

    def columns(self, table: str) -> Collection[str]:
        found = self._connection.execute(_COLUMNS, (self._plans[table].predecessor,)).fetchall()
        return {name for (name,) in found}

    def relation(self, table: str) -> str:
        return place_sql(self._plans[table].place)

    def set_aside(self, table: str, where: str) -> str:
        name, self._aside = f"synth_ops_stays_{self._aside}", self._aside + 1
        try:
            self._connection.execute(
                f"CREATE TEMP TABLE {sql.quote(name)} AS SELECT * FROM {self.relation(table)}{sql.where_sql(where)}"
            )
        except (errors.ProgrammingError, errors.DataError) as error:
            raise RecipeError(
                f"the fixtures' condition of table {table!r} is no condition that PostgreSQL takes ({error.sqlstate})",
                "write it as behind WHERE, with functions' schemas: `public.is_test(id)`",
            ) from None
        return place_sql(("pg_temp", name))

    def query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        return self._connection.execute(statement).fetchall()

    def change(self, statement: str) -> int:
        return self._connection.execute(statement).rowcount

    def take_over(self, table: Table, source: str) -> int:
        built = place_sql(self._plans[table.name].built)
        shared = self._connection.execute(_SHARED_COLUMNS, (built, source)).fetchall()
        return self._put(table, source, [name for (name,) in shared])

    def write(self, table: Table, row: Mapping[str, Any]) -> int:
        record = f"jsonb_populate_record(NULL::{place_sql(self._plans[table.name].built)}, {_literal(row)}::jsonb)"
        return self._put(table, record, list(row))

    def _put(self, table: Table, source: str, names: Sequence[str]) -> int:
        built, columns, gone = place_sql(self._plans[table.name].built), sql.columns_sql(names), 0
        if table.primary_key:
            same = " AND ".join(f"own.{sql.quote(n)} = stays.{sql.quote(n)}" for n in table.primary_key)
            gone = self.change(f"DELETE FROM {built} AS own USING {source} AS stays WHERE {same}")
        more = f"INSERT INTO {built} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {source}"
        return self.change(more) - gone


def gather(connection: Connection, metadata: Metadata, plans: Sequence[Plan], rules: PublishRules) -> Staying:
    """Find the rows that stay; see `staying.gather`."""
    live = _LiveRows(connection, plans)
    return staying.gather(live, metadata, [plan.table.name for plan in plans], rules)


def shifts(
    connection: Connection,
    reader: duckdb.DuckDBPyConnection,
    metadata: Metadata,
    tables: Mapping[str, TableData],
    stays: Staying,
) -> Shifts:
    """How far the copy's keys have to move; see `staying.shifts`."""
    return staying.shifts(_LiveRows(connection, ()), reader, metadata, tables, stays)


def insert(connection: Connection, plan: Plan, stays: Staying) -> int:
    """Put what stays into the new table; see `staying.insert`."""
    return staying.insert(_LiveRows(connection, [plan]), plan.table, stays)


def _literal(row: Mapping[str, Any]) -> str:
    """A row as JSON in a literal: the sessions keep `standard_conforming_strings`."""
    return sql.literal(json.dumps(row))
