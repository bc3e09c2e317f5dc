"""Tables after the metadata: in MySQL's own words where the source was one, translated from DuckDB's otherwise."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence

import pymysql
from pymysql.constants import ER

from synth_ops import sql
from synth_ops.errors import PublishError
from synth_ops.metadata import Check, Metadata, Table
from synth_ops.mysql_server import NO_PRIVILEGE, Connection, code_of, is_mariadb, rows
from synth_ops.targets.constraints import enforceable_foreign_keys
from synth_ops.targets.mysql.connection import literal, not_unique
from synth_ops.targets.mysql.types import declared

logger = logging.getLogger(__name__)

DIALECT = "mysql"
_TOO_LONG_KEY = (ER.TOO_LONG_KEY, ER.BLOB_KEY_WITHOUT_LENGTH)
_UNKNOWN_WORDS = (ER.PARSE_ERROR, ER.UNKNOWN_COLLATION, ER.UNKNOWN_CHARACTER_SET, 4161)
"""What a type of one product is to another."""
_COUNTING = ("TINYINT", "UTINYINT", "SMALLINT", "USMALLINT", "INTEGER", "UINTEGER", "BIGINT", "UBIGINT")


def collation(connection: Connection) -> str:
    """One that tells apart what DuckDB tells apart: case, accents, trailing spaces."""
    return "utf8mb4_nopad_bin" if is_mariadb(connection) else "utf8mb4_0900_bin"


def create(connection: Connection, metadata: Metadata, table: Table, name: str, order: str) -> bool:
    """Create one table with its primary key, its defaults, and columns that the server computes.

    Args:
        name: What it is called until the swap.
        order: The collation of texts that have none of their own.

    Returns:
        Whether the columns have the source's own types: those that the server knows, all or none.
    """
    native = metadata.dialect == DIALECT
    try:
        _create(connection, table, name, order, native=native)
    except pymysql.Error as error:
        if not native or code_of(error) not in _UNKNOWN_WORDS:
            raise
        logger.warning("table %s: its types are not the source's, which the server does not know", table.name)
        native = False
        _create(connection, table, name, order, native=False)
    if native:
        columns = _columns(table, native=True)
        changes = {
            f"default of column {column.name}": f"MODIFY {columns[column.name]} DEFAULT {column.default}"
            for column in table.columns
            if column.default
        }
        attempt(connection, table.name, name, changes | _generated(table))
    elif table.generated:
        _list_undeclared(table, "generated columns", [each.name for each in table.generated])
    return native


def add_keys(connection: Connection, table: Table, name: str, *, native: bool) -> None:
    """Unique keys, then CHECKs and indexes as far as MySQL can say them.

    Args:
        native: Whether the columns have the source's own types.

    Raises:
        PublishError: Rows are not unique by the collation of their columns.
    """
    for key in table.keys:
        if key not in _first_keys(table):
            with _keys_explained(table, key):
                rows(connection, f"ALTER TABLE {sql.quote(name)} ADD UNIQUE ({sql.columns_sql(key)})")
    _add_checks(connection, table, name, native=native)
    if native:
        changes = {
            f"index {index.name}": f"ADD {index.kind or ('UNIQUE' if index.unique else '')} INDEX "
            f"{sql.quote(index.name)} {index.definition}"
            for index in table.indexes
        }
        attempt(connection, table.name, name, changes)
    elif table.indexes:
        _list_undeclared(table, "indexes", [index.name for index in table.indexes])


def add_foreign_keys(connection: Connection, metadata: Metadata, table: Table, homes: Mapping[str, str]) -> None:
    """Foreign keys, which the server proves.

    Args:
        homes: What the new tables are called now; a parent that is none of them stays as it is.
    """
    for key in enforceable_foreign_keys(metadata, metadata.table(table.name)):
        if not set(key.columns) <= set(table.column_names):
            continue
        clauses = key.clauses if metadata.dialect == DIALECT else ""
        parent = sql.quote(homes.get(key.parent, key.parent))
        rows(
            connection,
            f"ALTER TABLE {sql.quote(homes[table.name])} ADD FOREIGN KEY ({sql.columns_sql(key.columns)}) "
            f"REFERENCES {parent} ({sql.columns_sql(key.parent_columns)}) {clauses}",
        )


def attempt(connection: Connection, table: str, name: str, changes: Mapping[str, str]) -> None:
    """Declare what the rows can do without, all at once or else one by one; what MySQL refuses is told.

    Args:
        table: What it is called when it is live.
        changes: What follows ALTER TABLE, by what it is for.
    """
    if not changes:
        return
    try:
        rows(connection, f"ALTER TABLE {sql.quote(name)} {', '.join(changes.values())}")
    except (pymysql.ProgrammingError, pymysql.OperationalError, pymysql.IntegrityError, pymysql.DataError) as error:
        if not connection.open or code_of(error) in NO_PRIVILEGE:
            raise
        if len(changes) == 1:
            (what,) = changes
            logger.warning("table %s: %s is not declared in the target (error %s)", table, what, code_of(error))
        else:
            for what, change in changes.items():
                attempt(connection, table, name, {what: change})


def _create(connection: Connection, table: Table, name: str, order: str, *, native: bool) -> None:
    parts = list(_columns(table, native=native).values())
    parts += [
        f"{'PRIMARY KEY' if key == table.primary_key else 'UNIQUE'} ({sql.columns_sql(key)})"
        for key in _first_keys(table)
    ]
    about = f" COMMENT {literal(table.comment)}" if table.comment else ""
    stored = f"ENGINE InnoDB CHARACTER SET utf8mb4 COLLATE {order}{about}"
    with _keys_explained(table, table.primary_key):
        rows(connection, f"CREATE TABLE {sql.quote(name)} ({', '.join(parts)}) {stored}")


def _columns(table: Table, *, native: bool) -> dict[str, str]:
    """Every column's definition, by its name."""
    in_key = {column for key in table.keys for column in key}
    in_key |= {column for key in table.foreign_keys for column in key.columns}
    counter = _counter(table)
    definitions = {}
    for column in table.columns:
        kind = declared(column, in_key=column.name in in_key, native=native)
        required = " NOT NULL" if column.name in table.required else " NULL"
        counts = " AUTO_INCREMENT" if column.name == counter else ""
        comment = f" COMMENT {literal(column.comment)}" if column.comment else ""
        definitions[column.name] = f"{sql.quote(column.name)} {kind}{required}{counts}{comment}"
    return definitions


def _counter(table: Table) -> str | None:
    """The column that numbers new rows: MySQL takes one, which leads a key."""
    leading = {key[0] for key in table.keys if key} & table.required
    known = (
        column.name
        for column in table.columns
        if column.numbering and column.name in leading and column.type.upper() in _COUNTING
    )
    return next(known, None)


def _first_keys(table: Table) -> list[tuple[str, ...]]:
    """The keys that a table is made with: its primary key, and the one that its counter leads."""
    counter = _counter(table)
    leads = next((key for key in table.keys if key[0] == counter), table.primary_key)
    return [key for key in table.keys if key in (table.primary_key, leads)]


def _generated(table: Table) -> dict[str, str]:
    """What adds the columns that the server computes, each in its place."""
    names = [column.name for column in table.columns]
    for each in sorted(table.generated, key=lambda column: column.position):
        names.insert(each.position, each.name)
    changes = {}
    for each in sorted(table.generated, key=lambda column: column.position):
        before = names[names.index(each.name) - 1] if names[0] != each.name else ""
        place = f"AFTER {sql.quote(before)}" if before else "FIRST"
        comment = f"COMMENT {literal(each.comment)} " if each.comment else ""
        changes[f"generated column {each.name}"] = (
            f"ADD {sql.quote(each.name)} {each.type} GENERATED ALWAYS AS {each.expression} "
            f"{'STORED' if each.stored else 'VIRTUAL'} {comment}{place}"
        )
    return changes


def _add_checks(connection: Connection, table: Table, name: str, *, native: bool) -> None:
    """The CHECKs that MySQL can say, and finds to hold: its collations may read them otherwise."""
    changes: dict[str, str] = {}
    for check in table.checks:
        expression = check.native if native else _translated(check)
        if not expression and native:  # an enum, which is a type here
            continue
        what = f"CHECK on ({', '.join(check.columns)})"
        if not expression or not _holds(connection, name, expression):
            logger.warning("table %s: %s is not declared in the target, which can't say it", table.name, what)
        else:
            changes[f"{what}, number {len(changes) + 1}"] = f"ADD CHECK ({expression}\n)"
    for number, expression in enumerate(table.native_checks if native else (), start=1):
        if _holds(connection, name, expression):
            changes[f"CHECK {number} of MySQL's own"] = f"ADD CHECK ({expression}\n)"
        else:
            logger.warning("table %s: CHECK %s of MySQL's own is not declared: rows break it", table.name, number)
    if changes and is_mariadb(connection):  # which would copy the table to look again
        rows(connection, "SET SESSION check_constraint_checks = 0")
    attempt(connection, table.name, name, changes)
    if changes and is_mariadb(connection):
        rows(connection, "SET SESSION check_constraint_checks = 1")


def _holds(connection: Connection, name: str, expression: str) -> bool:
    try:
        return not rows(connection, f"SELECT 1 FROM {sql.quote(name)} WHERE NOT ({expression}\n) LIMIT 1")
    except pymysql.Error:
        if not connection.open:
            raise
        return False


def _translated(check: Check) -> str:
    """A CHECK of another dialect in MySQL's words; empty where it can't be said."""
    from sqlglot import parse_one
    from sqlglot.errors import ErrorLevel, SqlglotError

    try:
        return parse_one(check.expression, read="duckdb").sql(
            dialect="mysql", identify=True, unsupported_level=ErrorLevel.RAISE
        )
    except SqlglotError:
        return ""


def _list_undeclared(table: Table, what: str, names: Sequence[str]) -> None:
    logger.warning("table %s: %s of another dialect are not declared: %s", table.name, what, ", ".join(names))


@contextlib.contextmanager
def _keys_explained(table: Table, key: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except pymysql.Error as error:
        if code_of(error) == ER.DUP_ENTRY:
            raise not_unique(table.name, key) from None
        if code_of(error) in _TOO_LONG_KEY:
            raise PublishError(
                f"a key of table {table.name!r} is longer than MySQL's keys may be", "leave it out in the recipe"
            ) from None
        raise
