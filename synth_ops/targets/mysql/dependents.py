"""What depends on live tables, and finds them not by their names: triggers, and foreign keys of tables that stay.

A foreign key follows the table that it refers to when that one is renamed. So, before the swap, a table that stays gets
a second one, which refers to the table to come; the swap takes both to where they belong; afterwards the one that
leads to an old generation is dropped. Whatever happens in between, the key that leads to the live table is there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from synth_ops import sql
from synth_ops.errors import PublishRefusedError
from synth_ops.mysql_server import Connection, rows
from synth_ops.targets.mysql.connection import explained
from synth_ops.targets.mysql.history import is_home

_SECOND = "synth_ops~"
"""What the name of a second foreign key begins with; the first one's name follows."""
_LONGEST_NAME = 64
_TRIGGERS = """
SELECT CONCAT('trigger ', TRIGGER_NAME) FROM information_schema.TRIGGERS
WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE IN %s
"""
_FOREIGN_KEYS = """
SELECT k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.REFERENCED_TABLE_NAME, r.UPDATE_RULE, r.DELETE_RULE,
    k.REFERENCED_TABLE_SCHEMA, k.COLUMN_NAME, k.REFERENCED_COLUMN_NAME
FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r
    ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME
    AND r.TABLE_NAME = k.TABLE_NAME
WHERE k.REFERENCED_TABLE_SCHEMA = DATABASE() ORDER BY 1, 2, 3, k.ORDINAL_POSITION
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One foreign key to a table of this database.

    Attributes:
        schema, table, name: Whose it is.
        parent: The table that it refers to, one of the database `database`.
        rules: What is done on UPDATE and DELETE.
    """

    schema: str
    table: str
    name: str
    database: str
    parent: str
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    rules: str

    @property
    def is_here(self) -> bool:
        """Whether the table whose it is is one of this database."""
        return self.schema == self.database

    def add_sql(self, parent: str, name: str = "") -> str:
        """What follows ALTER TABLE to declare it again.

        Args:
            parent: The table that it is to refer to then.
            name: Its own; the server finds one where it is empty.
        """
        named = f"CONSTRAINT {sql.quote(name)} " if name else ""
        place = f"{sql.quote(self.database)}.{sql.quote(parent)}"
        return (
            f"ADD {named}FOREIGN KEY ({sql.columns_sql(self.columns)}) "
            f"REFERENCES {place} ({sql.columns_sql(self.parent_columns)}) {self.rules}"
        )

    def alter(self, connection: Connection, change: str) -> None:
        """Alter the table whose it is."""
        rows(connection, f"ALTER TABLE {sql.quote(self.schema)}.{sql.quote(self.table)} {change}")


def references(connection: Connection) -> list[Reference]:
    """All foreign keys to tables of this database."""
    found = []
    for (schema, table, name, parent, update, delete, database), group in groupby(
        rows(connection, _FOREIGN_KEYS), key=lambda row: row[:7]
    ):
        pairs = [row[7:] for row in group]
        found.append(
            Reference(
                schema=schema,
                table=table,
                name=name,
                database=database,
                parent=parent,
                columns=tuple(column for column, _ in pairs),
                parent_columns=tuple(column for _, column in pairs),
                rules=f"ON UPDATE {update} ON DELETE {delete}",
            )
        )
    return found


def followers(
    connection: Connection, label: str, live: Collection[str], *, kept: Collection[str], recreate: bool
) -> list[Reference]:
    """The foreign keys of tables that stay to tables that are replaced.

    Args:
        live: Names of the tables that are replaced.
        kept: Those of tables that stay because the recipe says so.
        recreate: Whether all others are to follow, too.

    Raises:
        PublishRefusedError: Something may not, or can't, follow; all of it is named.
    """
    if not live:
        return []
    found = [
        each
        for each in references(connection)
        if each.parent in live and not (each.is_here and (each.table in live or is_home(each.table)))
    ]
    refused = [name for (name,) in rows(connection, _TRIGGERS, (list(live),))]
    hint = "drop it" if refused else "drop it, or set `publish: dependents: recreate`"
    if not recreate:
        others = [each for each in found if not (each.is_here and each.table in kept)]
        refused += [f"foreign key {each.name} of table {each.schema}.{each.table}" for each in others]
    if refused:
        raise PublishRefusedError(f"{label}: what can't follow the tables depends on them: {'; '.join(refused)}", hint)
    return found


def follow(connection: Connection, label: str, found: Sequence[Reference], homes: Mapping[str, str]) -> None:
    """Declare each foreign key once more, to the table to come: the server proves it.

    Args:
        homes: Where the tables to come are, by their names.

    Raises:
        PublishRefusedError: There is no such table to come.
        PublishError: Rows would refer to nothing.
    """
    lost = sorted({each.parent for each in found} - homes.keys())
    if lost:
        raise PublishRefusedError(
            f"{label}: tables that stay refer to tables that the new generation does not have: {', '.join(lost)}",
            "drop their foreign keys, or publish those tables as well",
        )
    for each in found:
        with explained(label, f"table {each.table!r}"):
            each.alter(connection, each.add_sql(homes[each.parent], f"{_SECOND}{each.name}"[:_LONGEST_NAME]))


def settle(connection: Connection) -> None:
    """Drop the foreign keys of tables that stay to generations that are not live, and give those that are their names.

    It is also what undoes `follow` where no swap came.
    """
    outside = [each for each in references(connection) if not (each.is_here and is_home(each.table))]
    rows(connection, "SET SESSION foreign_key_checks = 0")  # the rows were proven when the key was declared first
    try:
        for each in outside:
            if is_home(each.parent):
                each.alter(connection, f"DROP FOREIGN KEY {sql.quote(each.name)}")
        there = {(each.schema, each.name) for each in references(connection)}
        for each in outside:
            if each.name.startswith(_SECOND) and not is_home(each.parent):
                first = each.name.removeprefix(_SECOND)
                if (each.schema, first) not in there:  # as it is where a run died right here
                    each.alter(connection, each.add_sql(each.parent, first))
                each.alter(connection, f"DROP FOREIGN KEY {sql.quote(each.name)}")
    finally:
        if connection.open:
            rows(connection, "SET SESSION foreign_key_checks = 1")
