"""Tables after the metadata: in PostgreSQL's own words where the source was one, translated from DuckDB's otherwise."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from psycopg import errors

from synth_ops import sql
from synth_ops.metadata import Check, Column, Metadata, Table
from synth_ops.native import NativeType, Numbering
from synth_ops.targets.constraints import enforceable_foreign_keys
from synth_ops.targets.postgresql.connection import Connection
from synth_ops.targets.postgresql.definitions import Place, place_of, place_sql
from synth_ops.targets.postgresql.types import declared

logger = logging.getLogger(__name__)

DIALECT = "postgresql"
_VIRTUAL_SINCE = 180_000
_LABEL = re.compile(r"'((?:[^']|'')*)'")
_SERIALS = {"smallint": "smallserial", "integer": "serial", "bigint": "bigserial"}
_IDENTITIES = {Numbering.ALWAYS: "ALWAYS", Numbering.BY_DEFAULT: "BY DEFAULT", Numbering.SERIAL: "BY DEFAULT"}


def create_types(connection: Connection, metadata: Metadata) -> None:
    """Make the types that columns use, in the schemas that they have in the source, where there are none yet.

    They stay there: whatever else comes to use them, a swap does not take them away. An enum gets the labels that it
    lacks.
    """
    for each in metadata.types if metadata.dialect == DIALECT else ():
        name = place_sql((each.path[0], each.path[-1]))
        exists = connection.execute("SELECT to_regtype(%s) IS NOT NULL", (name,)).fetchall()[0][0]
        if not exists:
            word = "DOMAIN" if each.domain else "TYPE"
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {sql.quote(each.path[0])}")
            attempt(connection, f"CREATE {word} {name} AS {each.definition}", f"type {'.'.join(each.path)}")
        else:
            for label in _missing_labels(connection, each, name):
                connection.execute(f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS {sql.literal(label)}")


def create(connection: Connection, metadata: Metadata, table: Table, built: Place) -> None:
    """Create one table with its columns, comments, and columns that the server computes; keys come after the rows."""
    native = _usable_types(connection, metadata, table)
    parts = [_column_sql(table, column, native) for column in table.columns]
    virtual = connection.info.server_version >= _VIRTUAL_SINCE
    generated = table.generated if metadata.dialect == DIALECT else ()
    for each in generated:
        kind = "STORED" if each.stored or not virtual else "VIRTUAL"
        part = f"{sql.quote(each.name)} {each.type} GENERATED ALWAYS AS {each.expression} {kind}"
        parts.insert(each.position, part)
    connection.execute(f"CREATE TABLE {place_sql(built)} ({', '.join(parts)})")
    if len(generated) < len(table.generated):
        names = ", ".join(each.name for each in table.generated)
        logger.warning("table %s: generated columns of another dialect are not declared: %s", table.name, names)
    for column in table.columns if metadata.dialect == DIALECT else ():
        if column.default:
            attempt(
                connection,
                f"ALTER TABLE {place_sql(built)} ALTER COLUMN {sql.quote(column.name)} SET DEFAULT {column.default}",
                f"table {table.name}: default of column {column.name}",
            )
    comments = {f"TABLE {place_sql(built)}": table.comment}
    comments |= {f"COLUMN {place_sql(built)}.{sql.quote(column.name)}": column.comment for column in table.columns}
    comments |= {f"COLUMN {place_sql(built)}.{sql.quote(column.name)}": column.comment for column in generated}
    for what, text in comments.items():
        if text:
            connection.execute(f"COMMENT ON {what} IS {sql.literal(text)}")


def add_keys(connection: Connection, metadata: Metadata, table: Table, built: Place) -> None:
    """Primary and unique keys, then CHECKs and indexes as far as PostgreSQL can say them."""
    alter = f"ALTER TABLE {place_sql(built)} ADD"
    for key in table.keys:
        connection.execute(
            f"{alter} {'PRIMARY KEY' if key == table.primary_key else 'UNIQUE'} ({sql.columns_sql(key)})"
        )
    for check in table.checks:
        expression = _check_sql(metadata, table, check)
        if expression:
            attempt(connection, f"{alter} CHECK ({expression})", f"table {table.name}: {_named(check)}")
    for number, expression in enumerate(table.native_checks if metadata.dialect == DIALECT else (), start=1):
        attempt(connection, f"{alter} CHECK ({expression})", f"table {table.name}: CHECK {number} of PostgreSQL's own")
    for index in table.indexes if metadata.dialect == DIALECT else ():
        unique = "UNIQUE " if index.unique else ""
        statement = f"CREATE {unique}INDEX {sql.quote(index.name)} ON {place_sql(built)} {index.definition}"
        attempt(connection, statement, f"table {table.name}: index {index.name}")


def add_foreign_keys(
    connection: Connection, metadata: Metadata, table: Table, built: Place, homes: Mapping[Place, Place]
) -> None:
    """Foreign keys, declared without a look at the rows."""
    for key in enforceable_foreign_keys(metadata, table):
        parent = place_of(metadata.table(key.parent))
        clauses = key.clauses if metadata.dialect == DIALECT else ""
        reference = f"{place_sql(homes.get(parent, parent))} ({sql.columns_sql(key.parent_columns)}) {clauses}"
        columns = sql.columns_sql(key.columns)
        statement = f"ALTER TABLE {place_sql(built)} ADD FOREIGN KEY ({columns}) REFERENCES {reference} NOT VALID"
        attempt(connection, statement, f"table {table.name}: foreign key ({', '.join(key.columns)})")


def attempt(connection: Connection, statement: str, what: str) -> None:
    """Declare what holds in the copy anyway, unless PostgreSQL can't, or means something else by it."""
    try:
        with connection.transaction():
            connection.execute(statement)
    except errors.InsufficientPrivilege:
        raise
    except (errors.ProgrammingError, errors.CheckViolation, errors.DataError) as error:
        logger.warning(
            "%s is not declared in the target, which can't say it, or whose rows break it (%s)", what, error.sqlstate
        )


def _missing_labels(connection: Connection, wanted: NativeType, name: str) -> list[str]:
    if not wanted.definition.startswith("ENUM"):
        return []
    query = "SELECT enumlabel FROM pg_enum WHERE enumtypid = to_regtype(%s)"
    there = {label for (label,) in connection.execute(query, (name,)).fetchall()}
    labels = [label.replace("''", "'") for label in _LABEL.findall(wanted.definition)]
    return [label for label in labels if label not in there] if there else []


def _usable_types(connection: Connection, metadata: Metadata, table: Table) -> dict[str, str]:
    """The source's own words for columns' types, where the target knows the types."""
    if metadata.dialect != DIALECT:
        return {}
    words = {column.name: column.native_type.partition(" COLLATE ")[0] for column in table.columns}
    usable = {word for word in set(words.values()) if word and _is_type(connection, word)}
    for column in table.columns:
        if words[column.name] and words[column.name] not in usable:
            logger.warning(
                "table %s: the target has no type %s for column %s", table.name, column.native_type, column.name
            )
    return {column.name: column.native_type for column in table.columns if words[column.name] in usable}


def _is_type(connection: Connection, word: str) -> bool:
    try:
        with connection.transaction():
            return bool(connection.execute("SELECT to_regtype(%s) IS NOT NULL", (word,)).fetchall()[0][0])
    except errors.ProgrammingError:  # before PostgreSQL 16 it raises for some words
        return False


def _column_sql(table: Table, column: Column, native: Mapping[str, str]) -> str:
    kind = native.get(column.name) or declared(column.type)
    numbered = ""
    if column.numbering is Numbering.SERIAL and kind in _SERIALS:
        kind = _SERIALS[kind]
    elif column.numbering is not None and declared(column.type) in _SERIALS:
        numbered = f" GENERATED {_IDENTITIES[column.numbering]} AS IDENTITY"
    return f"{sql.quote(column.name)} {kind}{numbered}{' NOT NULL' if column.name in table.required else ''}"


def _check_sql(metadata: Metadata, table: Table, check: Check) -> str:
    """A CHECK in PostgreSQL's words; empty where it can't be said, or a type of the schema says it already."""
    from sqlglot import parse_one
    from sqlglot.errors import ErrorLevel, SqlglotError

    if metadata.dialect == DIALECT:
        own = {place_sql((each.path[0], each.path[-1])).replace('"', "") for each in metadata.types}
        types = {table.column(name).native_type.replace('"', "") for name in check.columns}
        if check.native or types <= own:
            return check.native
    try:
        return parse_one(check.expression, read="duckdb").sql(
            dialect="postgres", identify=True, unsupported_level=ErrorLevel.RAISE
        )
    except SqlglotError:
        logger.info("table %s: %s can't be said in PostgreSQL; it holds nevertheless", table.name, _named(check))
        return ""


def _named(check: Check) -> str:
    return f"CHECK on ({', '.join(check.columns)})"
