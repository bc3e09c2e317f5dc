"""Rows into a table of MySQL's, and a look that every one has come as it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
from pymysql.constants import ER

from synth_ops import sql
from synth_ops.artifacts import TableData
from synth_ops.errors import PublishError
from synth_ops.metadata import Table
from synth_ops.mysql_server import Connection, rows
from synth_ops.targets.constraints import rows_sql
from synth_ops.targets.mysql.connection import literal, not_unique
from synth_ops.targets.mysql.types import read_sql, value_sql


def load(
    connection: Connection,
    reader: duckdb.DuckDBPyConnection,
    table: Table,
    name: str,
    data: TableData,
    scratch: Path,
    *,
    native: bool,
    shifts: Mapping[str, int],
) -> None:
    """Load rows through a CSV file beside us.

    Args:
        reader: Reads the Parquet files.
        native: Whether the columns have the source's own types.
        shifts: How much is added to a column's values.

    Raises:
        PublishError: The server took fewer rows, or changed some.
    """
    if not data.files or not table.columns:
        return
    file = scratch / "rows.csv"
    read = {column.name: read_sql(column, f"@v{place}", native=native) for place, column in enumerate(table.columns)}
    read = {column: expression for column, expression in read.items() if expression}
    counts = ", ".join(["count(*)", *(f"count({sql.quote(column)})" for column in read)])
    sent = _write(reader, table, data, file, counts, shifts)
    targets = ", ".join(
        f"@v{place}" if column in read else sql.quote(column) for place, column in enumerate(table.column_names)
    )
    made = ", ".join(f"{sql.quote(column)} = {expression}" for column, expression in read.items())
    rows(
        connection,
        f"LOAD DATA LOCAL INFILE {literal(str(file))} INTO TABLE {sql.quote(name)} CHARACTER SET utf8mb4 "
        "FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' LINES TERMINATED BY '\n' "
        f"({targets}){' SET ' if made else ''}{made}",
    )
    changed = rows(connection, "SELECT @@warning_count")[0][0]  # LOCAL makes warnings of what else were errors
    codes = {code for _, code, _ in rows(connection, "SHOW WARNINGS")} if changed else set()
    file.unlink()
    came = rows(connection, f"SELECT {counts} FROM {sql.quote(name)}")[0]
    if ER.DUP_ENTRY in codes:
        raise not_unique(table.name, table.primary_key)
    if changed or came != sent or came[0] != data.rows:
        raise PublishError(
            f"MySQL does not take the rows of table {table.name!r} as they are ({data.rows - came[0]} missing)",
            "its types hold less: publish to PostgreSQL, or exclude the columns",
        )


def _write(
    reader: duckdb.DuckDBPyConnection,
    table: Table,
    data: TableData,
    file: Path,
    counts: str,
    shifts: Mapping[str, int],
) -> tuple[int, ...]:
    """Write the rows as CSV, and count them."""
    values = ((column.name, value_sql(column, shifts.get(column.name, 0))) for column in table.columns)
    selected = ", ".join(f"{value} AS {sql.quote(name)}" for name, value in values)
    options = f"FORMAT csv, HEADER false, NULLSTR 'NULL', FORCE_QUOTE ({sql.columns_sql(table.column_names)})"
    source = rows_sql(table, data)
    try:
        reader.execute(f"COPY (SELECT {selected} FROM {source}) TO {sql.literal(str(file))} ({options})")
        return tuple(reader.execute(f"SELECT {counts} FROM {source}").fetchall()[0])
    except duckdb.Error as error:
        raise PublishError(
            f"table {table.name!r} can't be read: {type(error).__name__}", "sample the copy again"
        ) from None
