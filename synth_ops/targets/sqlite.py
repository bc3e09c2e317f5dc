"""A SQLite file as a target.

Every key is declared, cycles and self-references included (they are looked through after the load), and every CHECK
that means the same in SQLite; `sqlite_dialect` has the types. Rows stand in the copy's order, except where a single
integer primary key, which SQLite makes the row's own number, orders them.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote as quote_url

import duckdb

from synth_ops import sql
from synth_ops.artifacts import TableData
from synth_ops.errors import PublishError, TargetUnavailableError
from synth_ops.location import Location
from synth_ops.metadata import ForeignKey, Metadata, Table, generation_order
from synth_ops.targets.constraints import enforceable_foreign_keys, refuse_colliding_names, rows_sql
from synth_ops.targets.generations import FileTarget, flush_to_disk, holds_bytes
from synth_ops.targets.publication import COLUMNS, Published, Tick, not_ours
from synth_ops.targets.sqlite_dialect import check_sql, spelling, values_sql

logger = logging.getLogger(__name__)

PUBLICATION_TABLE = "synth_ops_publication"
_BATCH_ROWS = 20_000
_WAIT_S = 5.0
_BULK_LOAD = ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -65536")
_SIDE_FILES = ("-wal", "-journal", "-shm")
_NO_DATABASE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


class SQLiteTarget(FileTarget):
    """Publishes to a SQLite file; see the module for what it declares and `generations` for how it swaps."""

    def __init__(self, location: Location) -> None:
        super().__init__(location, _SQLiteFile(location.label))


class _SQLiteFile:
    """The medium of `generations`.

    Never opens the live file but through SQLite: closing another descriptor of it would drop the locks that this
    process's own readers hold.
    """

    def __init__(self, label: str) -> None:
        self._label = label

    def read(self, path: Path) -> Published | None:
        if not holds_bytes(path):
            self._refuse_side_files(path)
            return None
        if path.is_dir():
            raise not_ours(self._label)
        with self._opened(path) as connection:
            return self._row(connection)

    def build(
        self, path: Path, metadata: Metadata, tables: Mapping[str, TableData], published: Published, tick: Tick
    ) -> None:
        refuse_colliding_names(metadata, lambda table: table.name, PUBLICATION_TABLE, "SQLite")
        with self._room(), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for pragma in _BULK_LOAD:
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN")
            for table in metadata.tables:
                _load(connection, metadata, table, tables[table.name])
                tick(f"table {table.name}")
            _write_publication(connection, published)
            connection.execute("COMMIT")
            _look_through(connection, metadata)
        flush_to_disk(path)

    @contextlib.contextmanager
    def at_rest(self, live: Path) -> Iterator[Published | None]:
        if not holds_bytes(live):
            yield None
            return
        with self._opened(live) as connection:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                connection.execute("PRAGMA journal_mode = DELETE")  # folds the log in; fails while others have it open
            connection.execute("BEGIN IMMEDIATE")  # bars writers, not readers
            live.with_name(f"{live.name}-journal").unlink(missing_ok=True)  # rolled back by now, or of no effect
            self._refuse_side_files(live)
            yield self._row(connection)
            connection.execute("ROLLBACK")

    def _row(self, connection: sqlite3.Connection) -> Published | None:
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if not found:
            return None
        rows = []
        if PUBLICATION_TABLE in found:
            names = ", ".join(name for name, _ in COLUMNS)
            rows = connection.execute(f"SELECT {names} FROM {PUBLICATION_TABLE}").fetchall()
        try:
            return Published.from_row(*rows)
        except (TypeError, ValueError, KeyError):
            raise not_ours(self._label) from None

    @contextlib.contextmanager
    def _opened(self, path: Path) -> Iterator[sqlite3.Connection]:
        try:
            url = f"file:{quote_url(str(path))}?mode=rw"
            with contextlib.closing(sqlite3.connect(url, uri=True, isolation_level=None, timeout=_WAIT_S)) as opened:
                yield opened
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode in _NO_DATABASE:
                raise not_ours(self._label) from None
            raise TargetUnavailableError(
                f"{self._label} can't be opened: another program uses it, or it is damaged",
                "close the programs that write to it, or have it open in WAL mode",
            ) from None

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError:
            raise TargetUnavailableError(
                f"{self._label} can't be written: there is not enough room, or the disk fails",
                "free space or check permissions; what was live is live still",
            ) from None

    def _refuse_side_files(self, path: Path) -> None:
        for suffix in _SIDE_FILES:
            side = path.with_name(path.name + suffix)
            if side.exists():  # SQLite would apply it to whatever stands at the path next
                raise TargetUnavailableError(
                    f"{self._label} has a file {side.name} beside it that does not belong to it",
                    "close the programs that use it, or move that file away",
                )


def _load(connection: sqlite3.Connection, metadata: Metadata, table: Table, data: TableData) -> None:
    places = ", ".join("?" * len(table.columns))
    insert = f"INSERT INTO {sql.quote(table.name)} VALUES ({places})"
    try:
        _create(connection, metadata, table)
        with sql.connect() as reader:
            rows = reader.execute(values_sql(table, rows_sql(table, data)))
            while batch := rows.fetchmany(_BATCH_ROWS):
                connection.executemany(insert, batch)
    except sqlite3.IntegrityError as error:
        what = "NOT NULL" if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_NOTNULL else "key or CHECK"
        raise PublishError(
            f"SQLite refuses rows of table {table.name!r}: {what} constraint",
            "SQLite has no NaN, which counts as NULL" if what == "NOT NULL" else "publish to DuckDB or Parquet",
        ) from None
    except duckdb.Error as error:
        raise PublishError(
            f"table {table.name!r} can't be read: {type(error).__name__}", "sample the copy again"
        ) from None


def _create(connection: sqlite3.Connection, metadata: Metadata, table: Table) -> None:
    parts = [
        f"{sql.quote(column.name)} {spelling(column).declared}" + (" NOT NULL" if column.name in table.required else "")
        for column in table.columns
    ]
    parts += [
        f"{'PRIMARY KEY' if key == table.primary_key else 'UNIQUE'} ({sql.columns_sql(key)})" for key in table.keys
    ]
    parts += [_reference_sql(metadata, table, key) for key in enforceable_foreign_keys(metadata, table)]
    for check in table.checks:
        expression = check_sql(table, check)
        if expression and _accepts(table, [*parts, f"CHECK ({expression})"]):
            parts.append(f"CHECK ({expression})")
        else:
            columns = ", ".join(check.columns)
            logger.info(
                "table %s: SQLite can't declare its CHECK on (%s), which holds nevertheless", table.name, columns
            )
    try:
        connection.execute(_create_sql(table, parts))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        raise PublishError(
            f"SQLite refuses to create table {table.name!r}", "rename it or its columns, or publish to Parquet"
        ) from None


def _accepts(table: Table, parts: Sequence[str]) -> bool:
    with contextlib.closing(sqlite3.connect(":memory:")) as trial:
        try:
            trial.execute(_create_sql(table, parts))
        except sqlite3.OperationalError:
            return False
    return True


def _create_sql(table: Table, parts: Sequence[str]) -> str:
    return f"CREATE TABLE {sql.quote(table.name)} ({', '.join(parts)})"


def _reference_sql(metadata: Metadata, table: Table, key: ForeignKey) -> str:
    _, deferred = generation_order(metadata)
    put_off = any(name == table.name and later.columns == key.columns for name, later in deferred)
    return (
        f"FOREIGN KEY ({sql.columns_sql(key.columns)}) REFERENCES {sql.quote(key.parent)} "
        f"({sql.columns_sql(key.parent_columns)})" + (" DEFERRABLE INITIALLY DEFERRED" if put_off else "")
    )


def _look_through(connection: sqlite3.Connection, metadata: Metadata) -> None:
    """Check the finished file as SQLite itself sees it."""
    broken = {str(row[0]) for row in connection.execute("PRAGMA foreign_key_check")}
    if broken:
        raise PublishError(
            f"SQLite finds broken references in: {', '.join(map(repr, sorted(broken)))}",
            "give both ends of these foreign keys the same type",
        )
    if connection.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]:
        raise PublishError(f"SQLite finds one of {len(metadata.tables)} tables damaged", "publish again")


def _write_publication(connection: sqlite3.Connection, published: Published) -> None:
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS)
    connection.execute(f"CREATE TABLE {PUBLICATION_TABLE} ({columns})")
    connection.execute(f"INSERT INTO {PUBLICATION_TABLE} VALUES (?, ?, ?, ?, ?)", published.to_row())
