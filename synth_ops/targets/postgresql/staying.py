"""Rows of the target that a new generation takes over: fixtures that tests rely on, or, when appending, all of them.

They keep their keys. The copy's own keys give way: where a key is an integer, all of the copy's are moved past those
that are taken, together with every reference to them; where it is not, a row whose key is taken is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
from psycopg import errors

from synth_ops import sql
from synth_ops.artifacts import TableData
from synth_ops.errors import PublishError, RecipeError
from synth_ops.metadata import Metadata, Table
from synth_ops.ports import Fixtures, PublishRules
from synth_ops.targets.postgresql.connection import Connection
from synth_ops.targets.postgresql.definitions import Place, place_sql
from synth_ops.targets.postgresql.schema import Plan

Shifts = Mapping[tuple[str, str], int]
"""How far a column's values move, by table and column."""

_SHARED_COLUMNS = """
SELECT b.attname FROM pg_attribute b JOIN pg_attribute s ON s.attname = b.attname
WHERE b.attrelid = %s::regclass AND s.attrelid = %s::regclass AND b.attnum > 0 AND s.attnum > 0
    AND NOT b.attisdropped AND NOT s.attisdropped AND b.attgenerated = ''
"""
_HIGHEST = {"TINYINT": 2**7, "SMALLINT": 2**15, "INTEGER": 2**31, "BIGINT": 2**63}


@dataclass(frozen=True, slots=True, kw_only=True)
class Staying:
    """What stays.

    Attributes:
        relations: Where the rows of a table are to be read, by the table's name.
        listed: Rows that the recipe spells out.
    """

    relations: Mapping[str, Place] = field(default_factory=dict)
    listed: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.relations or self.listed)


def gather(connection: Connection, metadata: Metadata, plans: Sequence[Plan], rules: PublishRules) -> Staying:
    """Find the rows that stay, and the rows of other tables that they refer to.

    Raises:
        RecipeError: A condition is no SQL, or is about a table that is not published.
    """
    by_name = {plan.table.name: plan for plan in plans}
    unknown = sorted(rules.fixtures.keys() - by_name.keys())
    if unknown:
        raise RecipeError(f"fixtures of tables that are not published: {', '.join(unknown)}", "correct `tables:`")
    listed = {name: fixtures.rows for name, fixtures in rules.fixtures.items() if fixtures.rows}
    if rules.append:
        live = {name: plan.place for name, plan in by_name.items() if plan.predecessor is not None}
        return Staying(relations=live, listed=listed)
    chosen: dict[str, Place] = {}
    for name, fixtures in rules.fixtures.items():
        if fixtures.where and by_name[name].predecessor is not None:
            chosen[name] = _choose(connection, by_name[name], fixtures, len(chosen))
    while chosen and _add_parents(connection, metadata, by_name, chosen):
        pass
    return Staying(relations=chosen, listed=listed)


def shifts(
    connection: Connection,
    reader: duckdb.DuckDBPyConnection,
    metadata: Metadata,
    tables: Mapping[str, TableData],
    staying: Staying,
) -> Shifts:
    """How far the copy's keys have to move to leave the keys of what stays alone.

    Raises:
        PublishError: They would not fit their type any more.
    """
    domains = _domains(metadata)
    highest: dict[tuple[str, str], int] = {}
    lowest: dict[tuple[str, str], int] = {}
    for name in {*staying.relations, *staying.listed}:
        column = _moving_key(metadata.table(name))
        if column:
            for taken in _taken(connection, name, column, staying):
                domain = domains[name, column]
                highest[domain] = max(highest.get(domain, taken), taken)
                lowest[domain] = min(lowest.get(domain, taken), taken)
    found: dict[tuple[str, str], int] = {}
    for domain, top in highest.items():
        members = [member for member in domains if domains[member] == domain]
        low, high = _range(reader, metadata, tables, members)
        if low is None or high is None or low > top or high < lowest[domain]:
            continue
        for name, column in members:
            if high + top - low + 1 >= _HIGHEST[metadata.table(name).column(column).type.upper()]:
                raise PublishError(
                    f"table {name!r}: keys after those that stay do not fit column {column!r}",
                    "give the column a larger type in the target, or fixtures lower keys",
                )
            found[name, column] = top - low + 1
    return found


def insert(connection: Connection, plan: Plan, staying: Staying) -> int:
    """Put what stays into the new table, in the place of the copy's rows with the same key.

    Returns:
        How many rows more the table has now.
    """
    name, more = plan.table.name, 0
    built = place_sql(plan.built)
    if name in staying.relations:
        source = place_sql(staying.relations[name])
        shared = connection.execute(_SHARED_COLUMNS, (built, source)).fetchall()
        more += _insert(connection, plan, source, [column for (column,) in shared])
    for row in staying.listed.get(name, ()):
        more += _insert(
            connection, plan, f"jsonb_populate_record(NULL::{built}, %s::jsonb)", list(row), json.dumps(row)
        )
    return more


def _insert(connection: Connection, plan: Plan, source: str, names: Sequence[str], *parameters: str) -> int:
    """Returns how many rows came in, less those that gave way."""
    built, columns, gone = place_sql(plan.built), sql.columns_sql(names), 0
    if plan.table.primary_key:
        same = " AND ".join(f"own.{sql.quote(n)} = stays.{sql.quote(n)}" for n in plan.table.primary_key)
        delete = f"DELETE FROM {built} AS own USING {source} AS stays WHERE {same}"
        gone = connection.execute(delete, parameters or None).rowcount
    insert = f"INSERT INTO {built} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {source}"
    return connection.execute(insert, parameters or None).rowcount - gone


def _choose(connection: Connection, plan: Plan, fixtures: Fixtures, number: int) -> Place:
    place = ("pg_temp", f"synth_ops_stays_{number}")
    try:
        connection.execute(
            f"CREATE TEMP TABLE {sql.quote(place[1])} AS "
            f"SELECT * FROM {place_sql(plan.place)}{sql.where_sql(fixtures.where)}"
        )
    except (errors.ProgrammingError, errors.DataError) as error:
        raise RecipeError(
            f"the fixtures' condition of table {plan.table.name!r} is no condition that PostgreSQL takes "
            f"({error.sqlstate})",
            "write it as behind WHERE, with functions' schemas: `public.is_test(id)`",
        ) from None
    return place


def _add_parents(
    connection: Connection, metadata: Metadata, plans: Mapping[str, Plan], chosen: dict[str, Place]
) -> bool:
    """Add the rows that chosen rows refer to; tells whether there were any."""
    added = 0
    for name, place in list(chosen.items()):
        for key in metadata.table(name).foreign_keys:
            parent = plans.get(key.parent)
            if parent is None or parent.predecessor is None or not _has(connection, plans[name], key.columns):
                continue
            if key.parent not in chosen:
                nothing = Fixtures(where="false")
                chosen[key.parent] = _choose(connection, parent, nothing, len(chosen))
            own = place_sql(chosen[key.parent])
            pairs = list(zip(key.parent_columns, key.columns, strict=True))
            needed = " AND ".join(f"p.{sql.quote(one)} = c.{sql.quote(other)}" for one, other in pairs)
            there = " AND ".join(f"p.{sql.quote(one)} = t.{sql.quote(one)}" for one, _ in pairs)
            added += connection.execute(
                f"INSERT INTO {own} SELECT * FROM {place_sql(parent.place)} AS p "
                f"WHERE EXISTS (SELECT FROM {place_sql(place)} AS c WHERE {needed}) "
                f"AND NOT EXISTS (SELECT FROM {own} AS t WHERE {there})"
            ).rowcount
    return added > 0


def _has(connection: Connection, plan: Plan, columns: Sequence[str]) -> bool:
    names = "SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped"
    return set(columns) <= {name for (name,) in connection.execute(names, (plan.predecessor,)).fetchall()}


def _domains(metadata: Metadata) -> dict[tuple[str, str], tuple[str, str]]:
    """Which integer columns hold the same keys: each leads to one that stands for all that references tie together."""
    columns = [(table.name, c.name) for table in metadata.tables for c in table.columns if c.type.upper() in _HIGHEST]
    leader = {column: column for column in columns}

    def find(column: tuple[str, str]) -> tuple[str, str]:
        while leader[column] != column:
            column = leader[column]
        return column

    for table in metadata.tables:
        for key in table.foreign_keys:
            for child, parent in zip(key.columns, key.parent_columns, strict=True):
                pair = (table.name, child), (key.parent, parent)
                if all(each in leader for each in pair):
                    leader[find(pair[0])] = find(pair[1])
    return {column: find(column) for column in columns}


def _moving_key(table: Table) -> str | None:
    """The column of a table's key whose values can be moved past others."""
    return next((name for name in table.primary_key if table.column(name).type.upper() in _HIGHEST), None)


def _taken(connection: Connection, name: str, column: str, staying: Staying) -> Iterable[int]:
    if name in staying.relations:
        quoted = sql.quote(column)
        query = f"SELECT min({quoted}), max({quoted}) FROM {place_sql(staying.relations[name])}"
        yield from (int(value) for value in connection.execute(query).fetchall()[0] if value is not None)
    yield from (int(row[column]) for row in staying.listed.get(name, ()) if column in row)


def _range(
    reader: duckdb.DuckDBPyConnection,
    metadata: Metadata,
    tables: Mapping[str, TableData],
    members: Sequence[tuple[str, str]],
) -> tuple[int | None, int | None]:
    ends: list[int] = []
    for name, column in members:
        if column in metadata.table(name).primary_key and tables[name].files:
            quoted = sql.quote(column)
            query = f"SELECT min({quoted}), max({quoted}) FROM {sql.relation_sql(tables[name])}"
            ends += [int(value) for value in reader.execute(query).fetchall()[0] if value is not None]
    return (min(ends), max(ends)) if ends else (None, None)
