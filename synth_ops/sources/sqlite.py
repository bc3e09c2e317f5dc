"""A SQLite file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

import pyarrow as pa

from synth_ops.errors import SourceError, SourceUnavailableError, SynthOpsError
from synth_ops.location import Location
from synth_ops.metadata import Column, Metadata, Table
from synth_ops.sources.arrow_stream import stream
from synth_ops.sources.check_expressions import usable
from synth_ops.sources.conditions import not_evaluated
from synth_ops.sources.files_on_disk import digest, path_of, require_file, way_out_when_missing
from synth_ops.sources.sqlite_schema import DeclaredTable, declared_tables, row_order
from synth_ops.sources.sqlite_types import align, choose_types
from synth_ops.sources.sqlite_values import Reading, reading
from synth_ops.sql import quote, where_sql

_FIRST_ROWS = 64
_MOST_ROWS = 8192
_TARGET_BYTES = 4 * 2**20
_UNAVAILABLE = {
    "SQLITE_BUSY": ("is locked by a writer", "try again when the writer has finished"),
    "SQLITE_LOCKED": ("is locked by a writer", "try again when the writer has finished"),
    "SQLITE_READONLY_ROLLBACK": ("was left in the middle of a write", "open it once with the program that writes it"),
}
_BROKEN = {
    "SQLITE_NOTADB": ("is not a SQLite file", "check the path and the URL's scheme"),
    "SQLITE_CORRUPT": ("is damaged or cut short", "check how it was copied, or restore it"),
    "SQLITE_CANTOPEN": ("can't be opened", "check its permissions; in WAL mode its folder must be writable"),
}


class SQLiteSource:
    """A SQLite file, opened read-only and read in one transaction.

    Args:
        location: The file's.
    """

    version = "1"
    busy_timeout_s = 5.0
    """How long to wait for a writer."""

    def __init__(self, location: Location) -> None:
        self.label = location.label
        self.path = path_of(location)
        self._way_out = way_out_when_missing(location)

    def state(self) -> str:
        """A digest of the file and its write-ahead log."""
        require_file(self.path, self.label, self._way_out)
        return digest([("file", self.path), ("wal", self.path.with_name(f"{self.path.name}-wal"))], self.label)

    @contextlib.contextmanager
    def session(self) -> Iterator[SQLiteSession]:
        """Open the file and begin to read; other programs may go on writing, this session does not see it.

        Raises:
            SourceError: It is not there, not a SQLite file, or damaged.
            SourceUnavailableError: A writer has locked it.
        """
        require_file(self.path, self.label, self._way_out)
        try:
            connection = sqlite3.connect(
                f"{self.path.as_uri()}?mode=ro",
                uri=True,
                timeout=self.busy_timeout_s,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise _failure(self.label, error) from None
        with contextlib.closing(connection):
            connection.text_factory = bytes  # text that is not UTF-8 must not stop the driver, which would quote it
            try:
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except sqlite3.Error as error:
                raise _failure(self.label, error) from None
            yield SQLiteSession(connection, self.label)


class SQLiteSession:
    """One look at an open file.

    Attributes:
        warnings: What could not be taken over as it is, by name; complete when all tables are read.
    """

    def __init__(self, connection: sqlite3.Connection, label: str) -> None:
        self._connection = connection
        self._label = label
        self.warnings: list[str] = []
        self.position: Mapping[str, str] = {}
        self.may_write = ""

    def metadata(self) -> Metadata:
        """All ordinary tables; views, virtual tables and generated columns are left out.

        A column's type follows from what was declared and from what is stored (see `sqlite_types`).
        """
        try:
            return self._reflect()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise _failure(self._label, error) from None

    def read(self, table: Table, where: str = "") -> pa.RecordBatchReader:
        """Stream a table by its row ids, or by its primary key where it has none."""
        readings = [reading(column.name, column.type) for column in table.columns]
        schema = pa.schema([pa.field(c.name, each.type) for c, each in zip(table.columns, readings, strict=True)])

        def failure(error: Exception) -> SynthOpsError:
            name = str(getattr(error, "sqlite_errorname", ""))
            if where and (name == "SQLITE_ERROR" or isinstance(error, sqlite3.ProgrammingError)):
                return not_evaluated(table, "SQLite", name or type(error).__name__)
            return _failure(self._label, error, table)

        return stream(schema, self._batches(table, where, readings, schema), failure)

    def _reflect(self) -> Metadata:
        tables = declared_tables(self._connection, self.warnings)
        types: dict[tuple[str, str], str] = {}
        forced: set[tuple[str, str]] = set()
        for table in tables:
            chosen, mixed = choose_types(self._connection, quote(table.name), table.columns)
            types.update({(table.name, name): kind for name, kind in chosen.items()})
            forced.update((table.name, name) for name in mixed)
            self.warnings += [
                f"column {name!r} of table {table.name!r} holds values that its type {table.columns[name] or '(none)'} "
                "does not allow; it is copied as text"
                for name in sorted(mixed)
            ]
        keys = [(table.name, key) for table in tables for key in table.foreign_keys]
        became_text = align(self._connection, types, keys)
        forced.update(became_text)
        self.warnings += [
            f"column {name!r} of table {table!r} is copied as text, like the column at the other end of its reference"
            for table, name in became_text
        ]
        return Metadata(tables=tuple(_table(table, types, forced) for table in tables))

    def _batches(
        self, table: Table, where: str, readings: Sequence[Reading], schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        (name,) = table.path
        selected = ", ".join(each.select for each in readings)
        order = row_order(self._connection, name)
        cursor = self._connection.execute(f"SELECT {selected} FROM {quote(name)}{where_sql(where)} {order}")
        rows_a_fetch = _FIRST_ROWS
        while rows := cursor.fetchmany(rows_a_fetch):
            arrays = [
                self._array(table.name, column.name, each, values)
                for column, each, values in zip(table.columns, readings, zip(*rows, strict=True), strict=True)
            ]
            batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
            yield batch
            affordable = int(_TARGET_BYTES * len(rows) / max(batch.nbytes, 1))
            rows_a_fetch = max(1, min(affordable, 2 * rows_a_fetch, _MOST_ROWS))

    def _array(self, table: str, column: str, how: Reading, values: Sequence[object]) -> pa.Array:
        try:
            return how.convert(values)
        except pa.ArrowInvalid:
            if how.type != pa.string():
                raise
        warning = f"column {column!r} of table {table!r} holds text that is not UTF-8; what can't be read is replaced"
        if warning not in self.warnings:
            self.warnings.append(warning)
        return pa.array([v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values], pa.string())


def _table(
    declared: DeclaredTable, types: Mapping[tuple[str, str], str], forced: AbstractSet[tuple[str, str]]
) -> Table:
    columns = tuple(
        Column(
            name=name,
            type=types[declared.name, name],
            native_type=native,
            nullable=name not in declared.required,
        )
        for name, native in declared.columns.items()
    )
    # a number that became text no longer compares as SQLite would compare it
    comparable = [
        check
        for check in declared.checks
        if check is not None and not any((declared.name, column) in forced for column in check.columns)
    ]
    readable = usable(comparable, columns)
    return Table(
        name=declared.name,
        path=(declared.name,),
        columns=columns,
        primary_key=declared.primary_key,
        uniques=declared.uniques,
        foreign_keys=declared.foreign_keys,
        checks=readable,
        unsupported_checks=len(declared.checks) - len(readable),
    )


def _failure(label: str, error: Exception, table: Table | None = None) -> SourceError:
    what = f"table {table.name!r} of {label}" if table else label
    # the extended code's name begins with the plain one's: SQLITE_CANTOPEN_ISDIR
    name = str(getattr(error, "sqlite_errorname", type(error).__name__))
    for known, (message, hint) in _UNAVAILABLE.items():
        if name.startswith(known):
            return SourceUnavailableError(f"{label} {message}", hint)
    for known, (message, hint) in _BROKEN.items():
        if name.startswith(known):
            return SourceError(f"{label} {message}", hint)
    return SourceError(f"{what} can't be read ({name})", "check that sqlite3 itself can read the file")
