"""A PostgreSQL database, read in one snapshot that all connections share."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pyarrow as pa

from synth_ops.errors import SourceError, SourceUnavailableError, SynthOpsError
from synth_ops.location import Location
from synth_ops.metadata import Metadata, Table
from synth_ops.postgresql_plans import plan_shapes
from synth_ops.postgresql_server import connect, server_identity, trouble
from synth_ops.sources.arrow_stream import read_ahead, stream
from synth_ops.sources.conditions import not_evaluated
from synth_ops.sources.postgresql.catalogue import CatalogueTable, read_catalogue, write_privilege
from synth_ops.sources.postgresql.readers import BEGIN, SET, Readers
from synth_ops.sources.postgresql.schema import Reflection
from synth_ops.sources.postgresql.types import arrow_type, converter, select_sql, sized_decimal
from synth_ops.sql import quote, where_sql

_RANGES_SINCE = 140_000
_MOST_READERS = 2
_PART_PAGES = 1024
_BATCH_BYTES = 2 * 2**20
_WAITING = 4  # batches of a connection's that nobody has taken yet
_PAGES = """
SELECT pg_relation_size(c.oid) / current_setting('block_size')::int
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am m ON m.oid = c.relam
WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'r' AND m.amname = 'heap'
"""
_POSITION = """
SELECT current_setting('server_version'), pg_export_snapshot(), pg_current_snapshot()::text,
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text,
       to_char(now(), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
"""
_STATE = """
SELECT concat_ws('/', s.system_identifier, c.timeline_id, d.oid, current_user, pg_current_snapshot()::text)
FROM pg_control_system() s, pg_control_checkpoint() c, pg_database d
WHERE d.datname = current_database() AND NOT pg_is_in_recovery()
"""


class PostgreSQLSource:
    """A PostgreSQL database, by a libpq URI. Its role needs nothing but SELECT, and is told of when it has more.

    Args:
        location: The server's and the database's.
    """

    version = "1"

    def __init__(self, location: Location) -> None:
        self._location = location
        self.label = location.label

    def state(self) -> str | None:
        """Which transactions are visible: as long as these are the same, so are the rows.

        None on a standby, which does not know, and for a role that may not ask.
        """
        with self._connected() as connection:
            try:
                row = connection.execute(_STATE).fetchone()
            except psycopg.errors.InsufficientPrivilege:
                return None
            return str(row[0]) if row else None

    def identity(self) -> str:
        """The cluster's own identifier and the database's: the same by every name, and on every physical replica.

        Raises:
            SourceError: It can't be asked.
        """
        with self._connected() as connection:
            return server_identity(connection)

    def plan_shapes(self, metadata: Metadata, queries: Sequence[str]) -> Sequence[str]:
        """Plan queries in a transaction that only reads; see `ports.PlanningSource`.

        Raises:
            SourceError: The server refuses it, or can't be reached.
        """
        places = {table.name: (table.path[-2], table.path[-1]) for table in metadata.tables}
        with self._connected() as connection:
            connection.execute(BEGIN)
            connection.execute("SET LOCAL search_path = ''")
            return plan_shapes(connection, queries, places)

    @contextlib.contextmanager
    def session(self) -> Iterator[PostgreSQLSession]:
        """Begin a read-only transaction and export its snapshot, for the connections that read tables.

        Raises:
            SourceError: The server refuses it.
            SourceUnavailableError: It can't be reached now.
        """
        with self._connected() as connection, contextlib.ExitStack() as stack:
            connection.execute(BEGIN)
            connection.execute(SET)
            session = PostgreSQLSession(connection, self._location)
            stack.callback(session.close)
            yield session

    @contextlib.contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            connection = connect(self._location)
        except psycopg.Error as error:
            raise failure(self.label, error) from None
        try:
            yield connection
        except psycopg.Error as error:
            raise failure(self.label, error) from None
        finally:
            connection.close()


class PostgreSQLSession:
    """One look at a database.

    Attributes:
        position: When and where the snapshot stands: the server's version, the place in its write-ahead log, the
            transactions that it sees.
        may_write: What the role could write, in words; empty when it is proven that it can write nothing.
        warnings: What could not be taken over as it is, by name; complete when all tables are read.
    """

    def __init__(self, connection: psycopg.Connection[Any], location: Location) -> None:
        self._connection = connection
        self._location = location
        row = connection.execute(_POSITION).fetchone()
        assert row is not None  # noqa: S101  a SELECT of functions has one row
        self._partitioned: frozenset[tuple[str, str]] = frozenset()
        self._readers = Readers(location, str(row[1]))
        self.position: Mapping[str, str] = {
            "server": f"PostgreSQL {row[0]}",
            "snapshot": row[2],
            "wal": row[3],
            "at": row[4],
        }
        self.may_write = ""
        self.warnings: list[str] = []

    def metadata(self) -> Metadata:
        """All tables of all schemas; each is locked against changes of its definition (and TRUNCATE) until the end."""
        try:
            catalogue = read_catalogue(self._connection)
            self._lock([table for table in catalogue.tables if table.readable])
            self.may_write = write_privilege(self._connection, [table.oid for table in catalogue.tables])
            self._partitioned = frozenset((t.schema, t.name) for t in catalogue.tables if t.partitioned)
            reflection = Reflection(catalogue)
            metadata = reflection.metadata(self._sizes)
        except psycopg.Error as error:
            raise failure(self._location.label, error) from None
        self.warnings += reflection.warnings
        return metadata

    def read(self, table: Table, where: str = "") -> pa.RecordBatchReader:
        """Stream a table in the order in which its rows are stored, in the snapshot, by one or two connections.

        Args:
            where: A condition in PostgreSQL's SQL; all rows when left out.
        """
        schema = pa.schema([pa.field(column.name, arrow_type(column.type)) for column in table.columns])
        return stream(schema, self._batches(table, where, schema), lambda e: self._failure(e, table, where))

    def close(self) -> None:
        """Close every connection that read."""
        self._readers.close()
        with contextlib.suppress(psycopg.Error):
            self._connection.execute("ROLLBACK")

    def _batches(self, table: Table, where: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        selected = ", ".join(select_sql(column) for column in table.columns)
        query = f"SELECT {selected} FROM {self._relation(table.path)}"
        conditions = [where_sql(where)] if where else self._ranges(table)
        readers = [self._readers.lend()]

        def join() -> bool:
            another = self._readers.lend_another()
            readers.extend([another] if another else [])
            return another is not None

        parts = [self._part(f"{query}{condition}", readers, table, schema) for condition in conditions]
        yield from read_ahead(parts, threads=min(len(parts), _MOST_READERS), depth=_WAITING, join=join)
        self._readers.take_back(readers)

    def _part(
        self, query: str, readers: list[adbc.Connection], table: Table, schema: pa.Schema
    ) -> Generator[pa.RecordBatch, None, None]:
        """The rows of a query, by one of the connections."""
        converters = [converter(column.type) for column in table.columns]
        reader = readers.pop()
        with reader.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)})
            cursor.execute(query)
            for batch in cursor.fetch_record_batch():
                arrays = [convert(array) for convert, array in zip(converters, batch.columns, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        readers.append(reader)

    def _ranges(self, table: Table) -> list[str]:
        """Conditions that cut a large table into runs of pages, in order, so that several connections can read it."""
        if self._connection.info.server_version < _RANGES_SINCE:
            return [""]
        pages = self._connection.execute(_PAGES, list(table.path[-2:])).fetchall()
        cuts = [f"'({page},0)'" for page in range(_PART_PAGES, pages[0][0] if pages else 0, _PART_PAGES)]
        if not cuts:
            return [""]
        between = [f" WHERE ctid >= {start} AND ctid < {end}" for start, end in itertools.pairwise(cuts)]
        return [f" WHERE ctid < {cuts[0]}", *between, f" WHERE ctid >= {cuts[-1]}"]

    def _relation(self, path: Sequence[str]) -> str:
        """A table expression; what inherits from a table is a table of its own, but for partitions."""
        name = ".".join(map(quote, path))
        return name if tuple(path) in self._partitioned else f"ONLY {name}"

    def _lock(self, tables: Sequence[CatalogueTable]) -> None:
        if tables:
            names = ", ".join(self._relation((table.schema, table.name)) for table in tables)
            self._connection.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE")

    def _sizes(self, table: CatalogueTable, names: Sequence[str]) -> Mapping[str, str]:
        """What holds the numerics that declare no size, by one look at all their values."""
        if not table.readable:
            return dict.fromkeys(names, "DOUBLE")
        measures = ", ".join(
            f"(max(abs({name})) FILTER (WHERE scale({name}) IS NOT NULL))::text, max(scale({name})), "
            f"coalesce(bool_and(scale({name}) IS NOT NULL) FILTER (WHERE {name} IS NOT NULL), true)"
            for name in map(quote, names)
        )
        name = ("" if table.partitioned else "ONLY ") + f"{quote(table.schema)}.{quote(table.name)}"
        row = self._connection.execute(f"SELECT {measures} FROM {name}").fetchone() or ()
        return {
            name: sized_decimal(*row[3 * place : 3 * place + 2], finite=row[3 * place + 2])
            for place, name in enumerate(names)
        }

    def _failure(self, error: Exception, table: Table, where: str) -> SynthOpsError:
        state = str(getattr(error, "sqlstate", None) or "")
        if where and trouble(error) is None:  # ADBC gives no state for what fails in the middle of a stream
            return not_evaluated(table, "PostgreSQL", f"SQLSTATE {state}" if state else "at one of its rows")
        return failure(self._location.label, error, table)


def failure(label: str, error: Exception, table: Table | None = None) -> SourceError:
    """What may be told of a driver's error: its own text holds values, and names of hosts and roles."""
    found = trouble(error)
    what = f"table {table.name!r} of {label}" if table else label
    state = getattr(error, "sqlstate", None)
    if found is None:
        return SourceError(
            f"{what} can't be read ({f'SQLSTATE {state}' if state else type(error).__name__})",
            "check that psql can read it as the same user",
        )
    kind = SourceUnavailableError if found.passing else SourceError
    hint = found.hint
    if state == "42501" and table:
        return SourceError(f"the role may not read {what}", "grant it SELECT, or `exclude: true` in the recipe")
    return kind(f"{what if found.passing else label} {found.message}", hint)
