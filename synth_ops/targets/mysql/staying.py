"""Rows that stay, in MySQL: see `targets.staying` for what that means."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pymysql

from synth_ops import sql
from synth_ops.errors import RecipeError
from synth_ops.metadata import Table
from synth_ops.mysql_server import Connection, code_of, rows
from synth_ops.targets.mysql import history
from synth_ops.targets.mysql.draft import Draft, live_columns

_SERVERS_OWN = range(1000, 2000)
"""Codes of errors of the server's, as opposed to the connection's."""


class LiveRows:
    """`staying.LiveRows` over one connection.

    Rows are set aside in tables that are named like those of the generation to come, and removed as its left-overs:
    MySQL reads a temporary table but once in a statement.
    """

    def __init__(self, connection: Connection, draft: Draft) -> None:
        self._connection = connection
        self._draft = draft
        self._plans = {plan.table.name: plan for plan in draft.plans}
        self._aside: list[str] = []

    def columns(self, table: str) -> Collection[str]:
        """See `staying.LiveRows`."""
        return {column.name for column in live_columns(self._connection, table)} if self._plans[table].follows else ()

    def relation(self, table: str) -> str:
        """See `staying.LiveRows`."""
        return sql.quote(table)

    def set_aside(self, table: str, where: str) -> str:
        """See `staying.LiveRows`."""
        name = f"{history.PREFIX}{self._draft.number}_{len(self._draft.homes) + len(self._aside) + 1}"
        try:
            self.change(f"CREATE TABLE {sql.quote(name)} AS SELECT * FROM {self.relation(table)}{sql.where_sql(where)}")
        except pymysql.Error as error:
            if code_of(error) not in _SERVERS_OWN or not self._connection.open:
                raise
            raise RecipeError(
                f"the fixtures' condition of table {table!r} is no condition that MySQL takes ({code_of(error)})",
                "write it as behind WHERE; texts stand in single quotes, names in double ones",
            ) from None
        self._aside.append(name)
        return sql.quote(name)

    def query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        """See `staying.LiveRows`."""
        return rows(self._connection, statement)

    def change(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """See `staying.LiveRows`."""
        with self._connection.cursor() as cursor:
            return int(cursor.execute(statement, parameters or None))

    def take_over(self, table: Table, source: str) -> int:
        """See `staying.LiveRows`."""
        home, gone = sql.quote(self._plans[table.name].home), 0
        if table.primary_key:
            same = " AND ".join(f"own.{sql.quote(name)} = stays.{sql.quote(name)}" for name in table.primary_key)
            gone = self.change(f"DELETE own FROM {home} AS own JOIN {source} AS stays ON {same}")
        there = {column.name for column in live_columns(self._connection, table.name)}
        built = live_columns(self._connection, self._plans[table.name].home)
        columns = sql.columns_sql([each.name for each in built if each.name in there and not each.generated])
        return self.change(f"INSERT INTO {home} ({columns}) SELECT {columns} FROM {source}") - gone

    def write(self, table: Table, row: Mapping[str, Any]) -> int:
        """See `staying.LiveRows`."""
        home, gone = _formatted(self._plans[table.name].home), 0
        values = [json.dumps(each) if isinstance(each, (list, dict)) else each for each in row.values()]
        if table.primary_key and row.keys() >= set(table.primary_key):
            same = " AND ".join(f"{_formatted(name)} = %s" for name in table.primary_key)
            gone = self.change(f"DELETE FROM {home} WHERE {same}", [row[name] for name in table.primary_key])
        into = f"INSERT INTO {home} ({', '.join(map(_formatted, row))}) VALUES ({', '.join(['%s'] * len(values))})"
        return self.change(into, values) - gone


def _formatted(name: str) -> str:
    """An identifier in a statement with parameters, which PyMySQL formats."""
    return sql.quote(name).replace("%", "%%")
