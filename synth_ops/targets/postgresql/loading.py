"""Rows into a table: Parquet, through DuckDB and Arrow's CSV writer, into COPY, two batches in memory at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pyarrow.csv

from synth_ops import sql
from synth_ops.artifacts import TableData
from synth_ops.errors import PublishError
from synth_ops.metadata import Column, Table
from synth_ops.targets.constraints import rows_sql
from synth_ops.targets.postgresql.connection import Connection
from synth_ops.targets.postgresql.definitions import Place, place_sql
from synth_ops.targets.postgresql.types import values_sql

_BATCH_ROWS = 32_768
_CSV = pyarrow.csv.WriteOptions(include_header=False)


def load(
    connection: Connection,
    reader: duckdb.DuckDBPyConnection,
    place: Place,
    table: Table,
    columns: Sequence[Column],
    data: TableData,
    shifts: Mapping[str, int],
) -> None:
    """Copy rows into a table that this very transaction created: frozen, they need no VACUUM later.

    A transaction with an older snapshot that looks at the table after the swap sees its rows, too, and not an empty
    table.

    Args:
        reader: Reads the Parquet files.
        place: Where the table stands now.
        columns: Those of `table` to fill; the others take their defaults.
        shifts: How much is added to a column's values.

    Raises:
        PublishError: The files can't be read.
    """
    if not data.files or not columns:
        return
    names = sql.columns_sql([column.name for column in columns])
    query = values_sql(columns, rows_sql(table, data), shifts)
    command = f"COPY {place_sql(place)} ({names}) FROM STDIN (FORMAT csv, FREEZE)"
    try:
        with connection.cursor().copy(command) as copy:
            for block in _one_ahead(_blocks(reader, query)):
                copy.write(block)
    except duckdb.Error as error:
        raise PublishError(
            f"table {table.name!r} can't be read: {type(error).__name__}", "sample the copy again"
        ) from None


def _blocks(reader: duckdb.DuckDBPyConnection, query: str) -> Iterator[memoryview]:
    for batch in reader.sql(query).to_arrow_reader(_BATCH_ROWS):
        block = io.BytesIO()
        pyarrow.csv.write_csv(batch, block, _CSV)
        yield block.getbuffer()


def _one_ahead(blocks: Iterator[memoryview]) -> Iterator[memoryview]:
    """The same blocks, the next one made by a thread while the server takes one."""
    with ThreadPoolExecutor(1, "synth_ops load") as ahead:
        coming = ahead.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = ahead.submit(next, blocks, None)
            yield block
