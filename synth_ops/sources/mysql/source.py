"""A MySQL or MariaDB database, read in one transaction with a consistent snapshot."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pymysql
import pymysql.cursors

from synth_ops.errors import SourceError, SynthOpsError
from synth_ops.location import Location
from synth_ops.metadata import Metadata, Table
from synth_ops.mysql_server import NO_PRIVILEGE, TlsRefusedError, code_of, rows, server_identity, server_url
from synth_ops.server_url import ServerUrl
from synth_ops.sources.arrow_stream import stream
from synth_ops.sources.conditions import not_evaluated
from synth_ops.sources.mysql.catalogue import CatalogueColumn, CatalogueTable, read_catalogue, write_privilege
from synth_ops.sources.mysql.connection import NOT_A_CONDITION, abandon, connect, failure
from synth_ops.sources.mysql.schema import Reflection
from synth_ops.sources.mysql.types import Seen, arrow_schema, csv_sql, quote, read_csv
from synth_ops.sql import where_sql

_FIRST_ROWS = 64
_MOST_ROWS = 32_768
_TARGET_BYTES = 4 * 2**20
_NEITHER_TOLD_NOR_LOGGED = (pymysql.Error, TlsRefusedError)
_SETTINGS = (
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'",
    "SET SESSION net_write_timeout = 3600",  # the server waits while Parquet is written
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)


class MySQLSource:
    """A MySQL or MariaDB database, by a URL such as `mysql://user@host/database`. Its user needs nothing but SELECT.

    Args:
        location: The server's and the database's; all databases where it names none.
    """

    version = "1"

    def __init__(self, location: Location) -> None:
        self._location = location
        self.label = location.label

    def state(self) -> None:
        """None: the server has no cheap token that all writes change."""

    def identity(self) -> str:
        """The server's own identifier (MySQL) or host, port and data folder (MariaDB has none), and the database.

        Raises:
            SourceError: It can't be asked.
        """
        with self._connected() as (connection, _):
            return server_identity(connection)

    @contextlib.contextmanager
    def session(self) -> Iterator[MySQLSession]:
        """Begin a read-only transaction whose snapshot is taken at once.

        Raises:
            SourceError: The server refuses it.
            SourceUnavailableError: It can't be reached now.
        """
        with self._connected() as (connection, url):
            for setting in _SETTINGS:
                rows(connection, setting)
            yield MySQLSession(connection, url, self.label)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[tuple[pymysql.Connection[Any], ServerUrl]]:
        url = server_url(self._location)
        try:
            connection = connect(url)
        except _NEITHER_TOLD_NOR_LOGGED as error:
            raise failure(self.label, error) from None
        try:
            yield connection, url
        except pymysql.Error as error:
            raise failure(self.label, error) from None
        finally:
            connection._force_close()  # noqa: SLF001  a stream left in the middle would be read to its end first


class MySQLSession:
    """One look at a database, through one connection: a transaction's snapshot can't be shared.

    Attributes:
        position: When and where the snapshot stands: the server's version, the place in its binary log if it has one.
        may_write: What the user could write, in words; empty when it is proven that it can write nothing.
        warnings: What could not be taken over as it is, by name; complete when all tables are read.
    """

    def __init__(self, connection: pymysql.Connection[Any], url: ServerUrl, label: str) -> None:
        self._connection = connection
        self._url = url
        self._label = label
        self._busy = False
        self._keys: dict[tuple[str, ...], tuple[str, ...]] = {}
        ((version, now),) = rows(connection, "SELECT VERSION(), DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')")
        self._mariadb = "MariaDB" in version
        product = "MariaDB" if self._mariadb else "MySQL"
        self.position: Mapping[str, str] = {"server": f"{product} {version}", "log": self._log_position(), "at": now}
        self.may_write = ""
        self.warnings: list[str] = []

    def metadata(self) -> Metadata:
        """All base tables of the database; a look at each keeps its definition from changing until the end."""
        try:
            catalogue = read_catalogue(self._connection, self._url.database, mariadb=self._mariadb)
            self.may_write = write_privilege(self._connection, self._url.database)
            for table in catalogue.tables:
                with contextlib.suppress(pymysql.err.OperationalError, pymysql.err.ProgrammingError):
                    rows(self._connection, f"SELECT 1 FROM {_relation((table.schema, table.name))} LIMIT 0")
            reflection = Reflection(catalogue, self._url.database, mariadb=self._mariadb)
            metadata = reflection.metadata(self._look)
        except pymysql.Error as error:
            raise failure(self._label, error) from None
        self._keys = {table.path: table.primary_key for table in metadata.tables}
        self.warnings += reflection.warnings
        return metadata

    def read(self, table: Table, where: str = "") -> pa.RecordBatchReader:
        """Stream a table by its primary key; one stream at a time, begun when its first batch is asked for.

        Args:
            where: A condition in MySQL's SQL; all rows when left out.
        """
        schema = arrow_schema(table.columns)

        def told(error: Exception) -> SynthOpsError:
            code = code_of(error)
            known = failure(self._label, error, table.name)
            if where and code in NOT_A_CONDITION and f"error {code}" in str(known):
                return not_evaluated(table, "MySQL", f"error {code}")
            return known

        return stream(schema, self._batches(table, where, schema), told)

    def _batches(self, table: Table, where: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        if self._busy:
            raise SourceError(f"{self._label} is read one table at a time", "read a stream to its end before the next")
        line = ",',',".join(csv_sql(column) for column in table.columns)
        key = self._keys.get(table.path, ())
        order = f" ORDER BY {', '.join(map(quote, key))}" if key else ""
        cursor = self._connection.cursor(pymysql.cursors.SSCursor)
        self._busy = True
        try:
            cursor.execute(f"SELECT CONCAT({line}) FROM {_relation(table.path)}{where_sql(where)}{order}")
            wanted = _FIRST_ROWS
            while found := cursor.fetchmany(wanted):
                lines = [line for (line,) in found]
                if None in lines:  # CONCAT gives NULL for more than `max_allowed_packet`
                    raise SourceError(
                        f"a row of table {table.name!r} is larger than the server sends", "raise its max_allowed_packet"
                    )
                batch = read_csv(lines, table.columns, schema)
                yield batch
                affordable = int(_TARGET_BYTES * len(lines) / max(batch.nbytes, 1))
                wanted = max(1, min(affordable, 4 * wanted, _MOST_ROWS))
            self._busy = False
        finally:
            if self._busy:  # left in the middle
                abandon(cursor)

    def _look(self, table: CatalogueTable, columns: Sequence[CatalogueColumn]) -> Mapping[str, Seen]:
        """One look at all values of columns whose declaration does not say what they hold."""
        if not columns:
            return {}
        measures = ", ".join(_measure(column) for column in columns)
        try:
            (found,) = rows(self._connection, f"SELECT {measures} FROM {_relation((table.schema, table.name))}")
        except pymysql.err.OperationalError as error:
            if code_of(error) in NO_PRIVILEGE:  # told when the table is read, if it is
                return {}
            raise
        return {column.name: _seen(column, bool(int(value))) for column, value in zip(columns, found, strict=True)}

    def _log_position(self) -> str:
        """The place in the binary log that belongs to the snapshot (MariaDB), or the transactions until now (MySQL)."""
        if not self._mariadb:
            ((gtid,),) = rows(self._connection, "SELECT @@GLOBAL.gtid_executed")
            return str(gtid)
        found = dict(rows(self._connection, "SHOW STATUS LIKE 'binlog_snapshot_%'"))
        name = {key.lower(): value for key, value in found.items()}
        return (
            f"{name['binlog_snapshot_file']}:{name['binlog_snapshot_position']}"
            if name.get("binlog_snapshot_file")
            else ""
        )


def _relation(path: Sequence[str]) -> str:
    return ".".join(map(quote, path))


def _measure(column: CatalogueColumn) -> str:
    name = quote(column.name)
    if column.data_type == "time":
        return f"IFNULL(MIN({name}) >= TIME'00:00:00' AND MAX({name}) < TIME'24:00:00', 1)"
    if column.data_type == "tinyint":
        return f"IFNULL(MIN({name}) >= 0 AND MAX({name}) <= 1, 1)"
    return f"IFNULL(MAX(DAYOFMONTH({name}) = 0 OR MONTH({name}) = 0), 0)"


def _seen(column: CatalogueColumn, value: bool) -> Seen:
    if column.data_type == "time":
        return Seen(times_of_day=value)
    return Seen(truths=value) if column.data_type == "tinyint" else Seen(zero_dates=value)
