"""Rows of the target that a new generation takes over: fixtures that tests rely on, or, when appending, all of them.

They keep their keys. The copy's own keys give way: where a key is an integer, all of the copy's are moved past those
that are taken, together with every reference to them; where it is not, a row whose key is taken is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import duckdb

from synth_ops import sql
from synth_ops.artifacts import TableData
from synth_ops.errors import PublishError, RecipeError
from synth_ops.metadata import Metadata, Table
from synth_ops.ports import PublishRules

Shifts = Mapping[tuple[str, str], int]
"""How far a column's values move, by table and column."""

_HIGHEST = {"TINYINT": 2**7, "SMALLINT": 2**15, "INTEGER": 2**31, "BIGINT": 2**63}


class LiveRows(Protocol):
    """The rows that readers see now, and the tables that are to take their places, as a dialect tells of them."""

    def columns(self, table: str) -> Collection[str]:
        """Names of a live table's columns; none where no such table is live."""

    def relation(self, table: str) -> str:
        """A live table, in SQL."""

    def set_aside(self, table: str, where: str) -> str:
        """Copy the live rows that meet a condition; returns where they are then, in SQL.

        Raises:
            RecipeError: The condition is none.
        """

    def query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        """All rows of a result."""

    def change(self, statement: str) -> int:
        """How many rows a statement changed."""

    def take_over(self, table: Table, source: str) -> int:
        """Put rows into the new table, in the place of those with the same key; returns how many more it has now."""

    def write(self, table: Table, row: Mapping[str, Any]) -> int:
        """Put one row that is spelt out there, in the same way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staying:
    """What stays.

    Attributes:
        relations: Where the rows of a table are to be read, in SQL, by the table's name.
        listed: Rows that the recipe spells out.
    """

    relations: Mapping[str, str] = field(default_factory=dict)
    listed: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.relations or self.listed)


def gather(live: LiveRows, metadata: Metadata, published: Collection[str], rules: PublishRules) -> Staying:
    """Find the rows that stay, and the rows of other tables that they refer to.

    Args:
        published: Names of the tables that are replaced.

    Raises:
        RecipeError: A condition is no SQL, or is about a table that is not published.
    """
    unknown = sorted(rules.fixtures.keys() - set(published))
    if unknown:
        raise RecipeError(f"fixtures of tables that are not published: {', '.join(unknown)}", "correct `tables:`")
    listed = {name: fixtures.rows for name, fixtures in rules.fixtures.items() if fixtures.rows}
    there = {name: frozenset(live.columns(name)) for name in published}
    if rules.append:
        return Staying(relations={name: live.relation(name) for name in published if there[name]}, listed=listed)
    chosen = {
        name: live.set_aside(name, fixtures.where)
        for name, fixtures in rules.fixtures.items()
        if fixtures.where and there[name]
    }
    while chosen and _add_parents(live, metadata, there, chosen):
        pass
    return Staying(relations=chosen, listed=listed)


def shifts(
    live: LiveRows,
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
            for taken in _taken(live, name, column, staying):
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


def insert(live: LiveRows, table: Table, staying: Staying) -> int:
    """Put what stays into the new table, in the place of the copy's rows with the same key.

    Returns:
        How many rows more the table has now.
    """
    more = live.take_over(table, staying.relations[table.name]) if table.name in staying.relations else 0
    return more + sum(live.write(table, row) for row in staying.listed.get(table.name, ()))


def _add_parents(
    live: LiveRows, metadata: Metadata, there: Mapping[str, frozenset[str]], chosen: dict[str, str]
) -> bool:
    """Add the rows that chosen rows refer to; tells whether there were any."""
    added = 0
    for name, place in list(chosen.items()):
        for key in metadata.table(name).foreign_keys:
            if not there.get(key.parent) or not there[name] >= set(key.columns):
                continue
            if key.parent not in chosen:
                chosen[key.parent] = live.set_aside(key.parent, "1 = 0")
            own = chosen[key.parent]
            pairs = list(zip(key.parent_columns, key.columns, strict=True))
            needed = " AND ".join(f"p.{sql.quote(one)} = c.{sql.quote(other)}" for one, other in pairs)
            present = " AND ".join(f"p.{sql.quote(one)} = t.{sql.quote(one)}" for one, _ in pairs)
            added += live.change(
                f"INSERT INTO {own} SELECT * FROM {live.relation(key.parent)} AS p "
                f"WHERE EXISTS (SELECT 1 FROM {place} AS c WHERE {needed}) "
                f"AND NOT EXISTS (SELECT 1 FROM {own} AS t WHERE {present})"
            )
    return added > 0


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


def _taken(live: LiveRows, name: str, column: str, staying: Staying) -> Iterable[int]:
    if name in staying.relations:
        quoted = sql.quote(column)
        (ends,) = live.query(f"SELECT min({quoted}), max({quoted}) FROM {staying.relations[name]}")
        yield from (int(value) for value in ends if value is not None)
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
