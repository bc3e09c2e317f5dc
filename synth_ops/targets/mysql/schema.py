"""Tables in MySQL's words, and rows into them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pymysql

from synth_ops import sql
from synth_ops.artifacts import TableData
from synth_ops.errors import PublishError
from synth_ops.metadata import Column, Metadata, Table
from synth_ops.mysql_server import Connection, code_of, rows
from synth_ops.native import Numbering
from synth_ops.targets.constraints import enforceable_foreign_keys, rows_sql

DIALECT = "mysql"
_DECLARED = {
    "BOOLEAN": "boolean",
    "TINYINT": "tinyint",
    "UTINYINT": "tinyint unsigned",
    "SMALLINT": "smallint",
    "USMALLINT": "smallint unsigned",
    "INTEGER": "int",
    "UINTEGER": "int unsigned",
    "BIGINT": "bigint",
    "UBIGINT": "bigint unsigned",
    "HUGEINT": "decimal(39)",
    "UHUGEINT": "decimal(39)",
    "FLOAT": "float",
    "REAL": "float",
    "DOUBLE": "double",
    "BLOB": "longblob",
    "DATE": "date",
    "TIME": "time(6)",
    "UUID": "char(36)",
}
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_NESTED = re.compile(r".*\]$|STRUCT|MAP|UNION|JSON", re.DOTALL)
_KEY_LENGTH = 255
_TOO_LONG_KEY = (1071, 1170)


def collation(connection: Connection) -> str:
    """One that tells apart what DuckDB tells apart: case, accents, trailing spaces."""
    ((version,),) = rows(connection, "SELECT version()")
    return "utf8mb4_nopad_bin" if "MariaDB" in version else "utf8mb4_0900_bin"


def declared(column: Column, *, in_key: bool, native: bool) -> str:
    """MySQL's type for a column: the source's own word where it was one."""
    kind = column.type.strip().upper()
    if native and column.native_type:
        return column.native_type
    if decimal := _DECIMAL.fullmatch(kind):
        return f"decimal({decimal[1]},{decimal[2]})"
    if _NESTED.match(kind):
        return "json"
    if kind.startswith("TIMESTAMP"):
        return "datetime(6)"
    return _DECLARED.get(kind, f"varchar({_KEY_LENGTH})" if in_key else "longtext")


def create(connection: Connection, metadata: Metadata, table: Table, name: str, order: str) -> None:
    """Create one table with its primary and unique keys; foreign keys come after the rows.

    Args:
        name: What it is called until the swap.
        order: The collation.
    """
    native = metadata.dialect == DIALECT
    in_key = {column for key in table.keys for column in key}
    in_key |= {column for key in table.foreign_keys for column in key.columns}
    numbered = {column.name for column in table.columns if column.numbering is not None} & {
        key[0] for key in table.keys if key
    }
    parts = []
    for column in table.columns:
        required = " NOT NULL" if column.name in table.required else " NULL"
        counts = (
            " AUTO_INCREMENT" if native and column.name in numbered and column.numbering is Numbering.BY_DEFAULT else ""
        )
        comment = f" COMMENT {sql.literal(column.comment)}" if native and column.comment else ""
        kind = declared(column, in_key=column.name in in_key, native=native)
        parts.append(f"{sql.quote(column.name)} {kind}{required}{counts}{comment}")
    for key in table.keys:
        word = "PRIMARY KEY" if key == table.primary_key else "UNIQUE"
        parts.append(f"{word} ({sql.columns_sql(key)})")
    about = f" COMMENT {sql.literal(table.comment)}" if table.comment else ""
    stored = f"ENGINE InnoDB CHARACTER SET utf8mb4 COLLATE {order}{about}"
    try:
        rows(connection, f"CREATE TABLE {sql.quote(name)} ({', '.join(parts)}) {stored}")
    except pymysql.Error as error:
        if code_of(error) in _TOO_LONG_KEY:
            raise PublishError(
                f"a key of table {table.name!r} is longer than MySQL's keys may be", "leave it out in the recipe"
            ) from None
        raise


def load(connection: Connection, table: Table, name: str, data: TableData, scratch: Path) -> None:
    """Load rows through a CSV file beside us, and look that every one has come as it was.

    Raises:
        PublishError: The server took fewer rows, or changed some.
    """
    if not data.files:
        return
    file = scratch / "rows.csv"
    selected = ", ".join(f"{_value_sql(column)} AS {sql.quote(column.name)}" for column in table.columns)
    options = f"FORMAT csv, HEADER false, NULLSTR 'NULL', FORCE_QUOTE ({sql.columns_sql(table.column_names)})"
    try:
        with sql.connect() as reader:
            reader.execute(
                f"COPY (SELECT {selected} FROM {rows_sql(table, data)}) TO {sql.literal(str(file))} ({options})"
            )
    except duckdb.Error as error:
        raise PublishError(
            f"table {table.name!r} can't be read: {type(error).__name__}", "sample the copy again"
        ) from None
    targets = ", ".join(
        f"@v{place}" if _is_hex(column) else sql.quote(column.name) for place, column in enumerate(table.columns)
    )
    decoded = [f"{sql.quote(c.name)} = unhex(@v{place})" for place, c in enumerate(table.columns) if _is_hex(c)]
    rows(
        connection,
        f"LOAD DATA LOCAL INFILE {sql.literal(str(file))} INTO TABLE {sql.quote(name)} CHARACTER SET utf8mb4 "
        "FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' LINES TERMINATED BY '\n' "
        f"({targets})" + (f" SET {', '.join(decoded)}" if decoded else ""),
    )
    changed = rows(connection, "SELECT @@warning_count")[0][0]  # LOCAL makes warnings of what else were errors
    came = rows(connection, f"SELECT count(*) FROM {sql.quote(name)}")[0][0]
    file.unlink()
    if changed or came != data.rows:
        raise PublishError(
            f"MySQL does not take the rows of table {table.name!r} as they are ({data.rows - came} missing)",
            "its types hold less: publish to PostgreSQL, or exclude the columns",
        )


def add_foreign_keys(connection: Connection, metadata: Metadata, table: Table, homes: Mapping[str, str]) -> None:
    """Foreign keys, which the server proves."""
    for key in enforceable_foreign_keys(metadata, table):
        clauses = key.clauses if metadata.dialect == DIALECT else ""
        rows(
            connection,
            f"ALTER TABLE {sql.quote(homes[table.name])} ADD FOREIGN KEY ({sql.columns_sql(key.columns)}) "
            f"REFERENCES {sql.quote(homes[key.parent])} ({sql.columns_sql(key.parent_columns)}) {clauses}",
        )


def _is_hex(column: Column) -> bool:
    return column.type.strip().upper() == "BLOB"


def _value_sql(column: Column) -> str:
    """A DuckDB expression for a value as MySQL reads it from text; what it has no number for becomes NULL."""
    name, kind = sql.quote(column.name), column.type.strip().upper()
    if kind == "BOOLEAN":
        return f"CAST({name} AS TINYINT)"
    if kind in ("FLOAT", "REAL", "DOUBLE"):
        return f"CASE WHEN isfinite({name}) THEN {name} END"
    if kind == "BLOB":
        return f"hex({name})"
    if _NESTED.match(kind):
        return f"CAST(to_json({name}) AS VARCHAR)"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"CAST({name} AT TIME ZONE 'UTC' AS VARCHAR)"
    return name


def names_of(table: Table) -> Iterator[str]:
    """Its own name and those of its columns."""
    yield table.path[-1]
    yield from table.column_names
