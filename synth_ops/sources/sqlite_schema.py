"""What a SQLite file declares: tables, columns, keys, references and checks."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth_ops.metadata import Check, ForeignKey
from synth_ops.sources.sqlite_checks import checks
from synth_ops.sql import columns_sql, quote

_OURS = "synth_ops_publication"
"""What this tool keeps in a target."""
_SHADOWS = ("config", "content", "data", "docsize", "idx", "node", "parent", "rowid", "segdir", "segments", "stat")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredTable:
    """One table, as it was declared.

    Attributes:
        columns: The declared types, by column name; generated columns are left out.
        checks: None for each that can't be read as DuckDB SQL.
    """

    name: str
    columns: Mapping[str, str]
    required: frozenset[str]
    primary_key: tuple[str, ...]
    uniques: tuple[tuple[str, ...], ...]
    foreign_keys: tuple[ForeignKey, ...]
    checks: tuple[Check | None, ...]

    @property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        """The primary key and the other unique keys."""
        return (self.primary_key, *self.uniques) if self.primary_key else self.uniques


def declared_tables(connection: sqlite3.Connection, warnings: list[str]) -> list[DeclaredTable]:
    """All ordinary tables in the order of their creation.

    Args:
        connection: Its `text_factory` is `bytes`.
        warnings: Takes a line for each constraint that is left out or changed.
    """
    found = _rows(connection, "SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY rowid")
    virtual = [name for name, sql in found if sql.lstrip()[:14].upper() == "CREATE VIRTUAL"]
    hidden = {_OURS, *virtual, *(f"{name}_{suffix}" for name in virtual for suffix in _SHADOWS)}
    tables = [
        _table(connection, name, sql, warnings)
        for name, sql in found
        if name not in hidden and not name.lower().startswith("sqlite_")
    ]
    by_name = {table.name.lower(): table for table in tables}
    resolved = [
        dataclasses.replace(table, foreign_keys=_references(connection, table, by_name, warnings)) for table in tables
    ]
    return _with_keys_of_references(connection, resolved, warnings)


def row_order(connection: sqlite3.Connection, table: str) -> str:
    """An ORDER BY clause that follows the table's storage: row ids, or the primary key where there are none."""
    columns = _rows(connection, "SELECT name, pk FROM pragma_table_xinfo(?)", table)
    taken = {name.lower() for name, _ in columns}
    aliases = [alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken]
    try:
        for alias in aliases[:1]:
            connection.execute(f"SELECT {alias} FROM {quote(table)} LIMIT 0")
            return f"ORDER BY {alias}"
    except sqlite3.OperationalError:  # WITHOUT ROWID
        key = sorted((position, name) for name, position in columns if position)
        return f"ORDER BY {columns_sql([name for _, name in key])}"
    return ""


def _rows(connection: sqlite3.Connection, query: str, *parameters: str) -> list[tuple[Any, ...]]:
    return [
        tuple(value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in row)
        for row in connection.execute(query, parameters)
    ]


def _table(connection: sqlite3.Connection, name: str, sql: str, warnings: list[str]) -> DeclaredTable:
    declared = _rows(
        connection, 'SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid', name
    )
    columns = {column: kind or "" for column, kind, _, _ in declared}
    key = tuple(column for position, column in sorted((pk, column) for column, _, _, pk in declared if pk))
    uniques = _uniques(connection, name, columns)
    required = frozenset(column for column, _, not_null, _ in declared if not_null)
    if key and not set(key) <= required and _holds_null(connection, name, key):
        warnings.append(f"the primary key of table {name!r} holds NULLs; it is copied as a unique key")
        key, uniques = (), (key, *uniques)
    spelling = {column.lower(): column for column in columns}
    return DeclaredTable(
        name=name,
        columns=columns,
        required=required | set(key),
        primary_key=key,
        uniques=uniques,
        foreign_keys=(),
        checks=tuple(checks(sql, spelling)) if "CHECK" in sql.upper() else (),
    )


def _holds_null(connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> bool:
    test = " OR ".join(f"{quote(column)} IS NULL" for column in columns)
    return bool(connection.execute(f"SELECT EXISTS (SELECT 1 FROM {quote(table)} WHERE {test})").fetchone()[0])


def _uniques(connection: sqlite3.Connection, table: str, columns: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """UNIQUE constraints and unique indexes over plain columns and all rows."""
    indexes = _rows(
        connection,
        "SELECT name FROM pragma_index_list(?) WHERE \"unique\" AND NOT partial AND origin <> 'pk' ORDER BY seq DESC",
        table,
    )
    keys = [
        tuple(
            column
            for (column,) in _rows(connection, "SELECT name FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno", index)
        )
        for (index,) in indexes
    ]
    return tuple(dict.fromkeys(key for key in keys if set(key) <= set(columns)))


def _references(
    connection: sqlite3.Connection,
    table: DeclaredTable,
    tables: Mapping[str, DeclaredTable],
    warnings: list[str],
) -> tuple[ForeignKey, ...]:
    """Its foreign keys with every name as it is really spelled; those that lead nowhere become warnings."""
    rows = _rows(
        connection,
        'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id DESC, seq',
        table.name,
    )
    grouped = defaultdict(list)
    for number, parent, column, parent_column in rows:
        grouped[number, parent].append((column, parent_column))
    found = []
    for (_, parent_name), pairs in grouped.items():
        what = f"the foreign key of table {table.name!r} to {parent_name!r} is left out"
        parent = tables.get(parent_name.lower())
        if parent is None:
            warnings.append(f"{what}: there is no such table")
            continue
        named = tuple(column for _, column in pairs) if pairs[0][1] is not None else parent.primary_key
        columns = _respell([column for column, _ in pairs], table)
        parent_columns = _respell(named, parent)
        if not columns or not parent_columns or len(columns) != len(parent_columns):
            warnings.append(f"{what}: its columns are not there")
            continue
        found.append(ForeignKey(columns=columns, parent=parent.name, parent_columns=parent_columns))
    return tuple(dict.fromkeys(found))


def _respell(names: Sequence[str], table: DeclaredTable) -> tuple[str, ...]:
    """The names as the table spells them; empty when it lacks one."""
    spelling = {column.lower(): column for column in table.columns}
    found = tuple(spelling[name.lower()] for name in names if name.lower() in spelling)
    return found if len(found) == len(names) else ()


def _with_keys_of_references(
    connection: sqlite3.Connection, tables: Sequence[DeclaredTable], warnings: list[str]
) -> list[DeclaredTable]:
    """The tables, with a unique key on whatever is referred to: SQLite does not ask for one until rows are written."""
    missing: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    by_name = {table.name: table for table in tables}
    for table in tables:
        for reference in table.foreign_keys:
            parent, columns = by_name[reference.parent], reference.parent_columns
            known = (*parent.keys, *missing[parent.name])
            if any(set(key) == set(columns) for key in known):
                continue
            if _is_unique(connection, parent.name, columns):
                missing[parent.name].append(columns)
            else:
                warnings.append(
                    f"table {table.name!r} refers to columns of table {parent.name!r} that are not unique: "
                    f"{', '.join(columns)}"
                )
    return [dataclasses.replace(t, uniques=(*t.uniques, *missing[t.name])) for t in tables]


def _is_unique(connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> bool:
    names = columns_sql(columns)
    given = " AND ".join(f"{quote(column)} IS NOT NULL" for column in columns)
    repeated = f"SELECT 1 FROM {quote(table)} WHERE {given} GROUP BY {names} HAVING count(*) > 1"
    return not connection.execute(f"SELECT EXISTS ({repeated})").fetchone()[0]
