"""A DuckDB file as a target.

Declared in the file: types, NOT NULL, primary and unique keys, CHECKs, and those foreign keys that DuckDB can hold
through a bulk load. Not declared, though verified beforehand: references of a table to itself (DuckDB looks for a row's
parent among the rows of earlier batches only), those put off by a cycle (it can't add one later), those across schemas
or between different types, and whatever else it refuses. Rows stand in the copy's order.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb

from synth_ops import sql
from synth_ops.artifacts import TableData
from synth_ops.errors import PublishError, PublishRefusedError, TargetUnavailableError
from synth_ops.location import Location
from synth_ops.metadata import Metadata, Table, generation_order
from synth_ops.targets.constraints import enforceable_foreign_keys, refuse_colliding_names, rows_sql
from synth_ops.targets.generations import FileTarget, flush_to_disk, holds_bytes
from synth_ops.targets.publication import COLUMNS, Published, Tick, not_ours

logger = logging.getLogger(__name__)

PUBLICATION_TABLE = '"synth_ops"."publication"'
_MEMORY_LIMIT = "1GB"
_OFFLINE: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False}
_NO_ROOM = (
    duckdb.IOException,
    duckdb.OutOfMemoryException,
    duckdb.FatalException,
    duckdb.TransactionException,  # a commit that could not be written; there is no other reason with one connection
)


class DuckDBTarget(FileTarget):
    """Publishes to a DuckDB file; see the module for what it declares and `generations` for how it swaps."""

    def __init__(self, location: Location) -> None:
        super().__init__(location, _DuckDBFile(location.label))


class _DuckDBFile:
    """The medium of `generations`.

    A file is always attached to a fresh DuckDB: `duckdb.connect` would hand out an instance that this process opened
    under the same name before a swap.
    """

    def __init__(self, label: str) -> None:
        self._label = label

    def read(self, path: Path) -> Published | None:
        if not holds_bytes(path):
            if _wal(path).exists():
                raise PublishRefusedError(
                    f"{self._label} is gone, but its write-ahead log is not", f"move {_wal(path).name} away"
                )
            return None
        if path.is_dir():
            raise not_ours(self._label)
        with path.open("rb") as stream:
            if stream.read(12)[8:] != b"DUCK":
                raise not_ours(self._label)
        with self._attached(path, "READ_ONLY") as connection:
            return self._row(connection)

    def build(
        self, path: Path, metadata: Metadata, tables: Mapping[str, TableData], published: Published, tick: Tick
    ) -> None:
        refuse_colliding_names(metadata, lambda table: ".".join(_place(table)), "synth_ops.publication", "DuckDB")
        config = {"memory_limit": _MEMORY_LIMIT, **_OFFLINE}
        with self._room(), duckdb.connect(str(path), config=config) as connection:
            connection.execute(f"SET temp_directory = {sql.literal(str(path.parent / 'spill'))}")
            connection.execute("SET TimeZone = 'UTC'")
            for name in generation_order(metadata)[0]:
                _load(connection, metadata, metadata.table(name), tables[name])
                tick(f"table {name}")
            _write_publication(connection, published)
            connection.execute("CHECKPOINT")
        flush_to_disk(path)

    @contextlib.contextmanager
    def at_rest(self, live: Path) -> Iterator[Published | None]:
        if not holds_bytes(live):
            yield None
            return
        if _wal(live).exists():  # left by a tester who was killed: his committed rows belong to the old generation
            with self._attached(live, "READ_WRITE") as connection:
                connection.execute("CHECKPOINT live")
        with self._attached(live, "READ_ONLY") as connection:  # its shared lock bars writers, not readers
            if _wal(live).exists():
                raise self._busy()
            yield self._row(connection)

    def _row(self, connection: duckdb.DuckDBPyConnection) -> Published | None:
        names = ", ".join(name for name, _ in COLUMNS)
        try:
            rows = connection.execute(f"SELECT {names} FROM live.{PUBLICATION_TABLE}").fetchall()
        except (duckdb.CatalogException, duckdb.BinderException):
            if _is_empty(connection):
                return None
            rows = []
        try:
            return Published.from_row(*rows)
        except (TypeError, ValueError, KeyError):
            raise not_ours(self._label) from None

    @contextlib.contextmanager
    def _attached(self, path: Path, mode: str) -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect(config=_OFFLINE) as connection:
            try:
                connection.execute(f"ATTACH {sql.literal(str(path))} AS live ({mode})")
            except duckdb.Error:
                raise self._busy() from None
            yield connection

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except _NO_ROOM as error:
            what = "memory" if isinstance(error, duckdb.OutOfMemoryException) else "room"
            raise TargetUnavailableError(
                f"{self._label} can't be written: there is not enough {what}, or the disk fails",
                "free space or check permissions; what was live is live still",
            ) from None

    def _busy(self) -> TargetUnavailableError:
        return TargetUnavailableError(
            f"{self._label} can't be opened: another program writes to it, or it is damaged",
            "close that program, or move the file and its .wal away",
        )


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


def _is_empty(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether an attached database holds nothing that a user made."""
    count = """
        SELECT (SELECT count(*) FROM duckdb_tables() WHERE database_name = 'live')
             + (SELECT count(*) FROM duckdb_views() WHERE database_name = 'live' AND NOT internal)
             + (SELECT count(*) FROM duckdb_sequences() WHERE database_name = 'live')
             + (SELECT count(*) FROM duckdb_functions() WHERE database_name = 'live' AND NOT internal)
             + (SELECT count(*) FROM duckdb_types() WHERE database_name = 'live' AND NOT internal)
    """
    return not connection.execute(count).fetchall()[0][0]


def _place(table: Table) -> tuple[str, str]:
    """Schema and name: the default schema's tables stand in `main`."""
    name = table.path[-1]
    return ("main" if len(table.path) == 1 or table.name == name else table.path[-2]), name


def _place_sql(table: Table) -> str:
    return sql.columns_sql(_place(table)).replace(", ", ".")


def _load(connection: duckdb.DuckDBPyConnection, metadata: Metadata, table: Table, data: TableData) -> None:
    try:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {sql.quote(_place(table)[0])}")
        _create(connection, metadata, table)
        connection.execute(f"INSERT INTO {_place_sql(table)} SELECT * FROM {rows_sql(table, data)}")
    except _NO_ROOM:
        raise
    except duckdb.Error as error:
        raise PublishError(
            f"DuckDB refuses table {table.name!r}: {type(error).__name__}",
            "correct the table's types or constraints in the recipe's `tables` section",
        ) from None


def _create(connection: duckdb.DuckDBPyConnection, metadata: Metadata, table: Table) -> None:
    """Create a table with every constraint that DuckDB takes."""
    columns = [
        f"{sql.quote(column.name)} {column.type}" + (" NOT NULL" if column.name in table.required else "")
        for column in table.columns
    ]
    wanted = _constraints(metadata, table)
    if _accepts(connection, table, [*columns, *wanted]):
        return
    accepted: list[str] = []
    for what, constraint in wanted.items():
        if _accepts(connection, table, [*columns, *accepted, constraint], trial=True):
            accepted.append(constraint)
        else:
            logger.info("table %s: DuckDB can't declare its %s, which holds nevertheless", table.name, what)
    connection.execute(_create_sql(table, [*columns, *accepted]))


def _accepts(connection: duckdb.DuckDBPyConnection, table: Table, parts: Sequence[str], *, trial: bool = False) -> bool:
    connection.begin()
    try:
        connection.execute(_create_sql(table, parts))
    except _NO_ROOM:
        raise
    except duckdb.Error:
        connection.rollback()
        return False
    if trial:
        connection.rollback()
    else:
        connection.commit()
    return True


def _create_sql(table: Table, parts: Sequence[str]) -> str:
    return f"CREATE TABLE {_place_sql(table)} ({', '.join(parts)})"


def _constraints(metadata: Metadata, table: Table) -> dict[str, str]:
    """SQL of the constraints to declare, by what they are called in messages."""
    found: dict[str, str] = {}
    for key in table.keys:
        word = "PRIMARY KEY" if key == table.primary_key else "UNIQUE"
        found[f"{word} ({', '.join(key)})"] = f"{word} ({sql.columns_sql(key)})"
    for number, check in enumerate(table.checks, start=1):
        found[f"CHECK {number} on ({', '.join(check.columns)})"] = f"CHECK ({check.expression})"
    _, deferred = generation_order(metadata)
    put_off = {key.columns for name, key in deferred if name == table.name}
    for reference in enforceable_foreign_keys(metadata, table):
        what = f"FOREIGN KEY ({', '.join(reference.columns)})"
        if reference.parent != table.name and reference.columns not in put_off:
            found[what] = (
                f"FOREIGN KEY ({sql.columns_sql(reference.columns)}) "
                f"REFERENCES {_place_sql(metadata.table(reference.parent))} "
                f"({sql.columns_sql(reference.parent_columns)})"
            )
    return found


def _write_publication(connection: duckdb.DuckDBPyConnection, published: Published) -> None:
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS)
    connection.execute("CREATE SCHEMA IF NOT EXISTS synth_ops")
    connection.execute(f"CREATE TABLE {PUBLICATION_TABLE} ({columns})")
    connection.execute(f"INSERT INTO {PUBLICATION_TABLE} VALUES (?, ?, ?, ?, ?)", published.to_row())
