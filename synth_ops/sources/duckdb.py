"""A DuckDB file."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from synth_ops.errors import SourceError, SourceUnavailableError, SynthOpsError
from synth_ops.location import Location
from synth_ops.metadata import Check, ForeignKey, Metadata, Table
from synth_ops.sources.check_expressions import usable
from synth_ops.sources.conditions import not_evaluated
from synth_ops.sources.duckdb_types import NOT_A_CONDITION, enum_check, read_columns, reflect_columns, type_warnings
from synth_ops.sources.files_on_disk import digest, path_of, require_file, way_out_when_missing
from synth_ops.sql import connect, literal, quote, where_sql

if TYPE_CHECKING:
    import pyarrow as pa

_CATALOG = "source"
_DEFAULT_SCHEMA = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Constraint:
    kind: str
    columns: tuple[str, ...]
    expression: str
    parent: tuple[str, str]
    parent_columns: tuple[str, ...]


class DuckDBSource:
    """A DuckDB file, attached read-only. Its lock keeps writers of other processes out while a session is open.

    Args:
        location: The file's.
    """

    version = "1"

    def __init__(self, location: Location) -> None:
        self.label = location.label
        self.path = path_of(location)
        self._way_out = way_out_when_missing(location)

    def state(self) -> str:
        """A digest of the file and its write-ahead log."""
        require_file(self.path, self.label, self._way_out)
        return digest([("file", self.path), ("wal", self.path.with_name(f"{self.path.name}.wal"))], self.label)

    @contextlib.contextmanager
    def session(self) -> Iterator[DuckDBSession]:
        """Attach the file.

        Raises:
            SourceError: It is not there, not a DuckDB file, or damaged.
            SourceUnavailableError: Another process is writing to it.
        """
        require_file(self.path, self.label, self._way_out)
        with connect() as connection:
            try:
                connection.execute(f"ATTACH {literal(str(self.path))} AS {_CATALOG} (READ_ONLY, TYPE duckdb)")
                connection.execute(f"USE {_CATALOG}")  # CHECKs may call the file's own macros
            except duckdb.Error as error:
                raise _failure(self.label, error) from None
            yield DuckDBSession(connection, self.label)


class DuckDBSession:
    """One look at an attached file.

    Attributes:
        warnings: What could not be taken over as it is, by name.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, label: str) -> None:
        self._connection = connection
        self._label = label
        self.warnings: list[str] = []
        self.position: Mapping[str, str] = {}
        self.may_write = ""

    def metadata(self) -> Metadata:
        """All base tables of all schemas; views, temporary tables and generated columns are left out."""
        try:
            columns = self._columns()
            spelling = _Spelling(columns)
            constraints = self._constraints(spelling)
            indexes = self._unique_indexes(spelling)
            return Metadata(
                tables=tuple(
                    self._table(path, columns[path], constraints[path], indexes[path]) for path in self._tables()
                )
            )
        except duckdb.Error as error:
            raise _failure(self._label, error) from None

    def read(self, table: Table, where: str = "") -> pa.RecordBatchReader:
        """Stream a table in the order of its rows in the file."""
        rows = _table_sql(table.path) + where_sql(where)

        def failure(error: Exception) -> SynthOpsError:
            if where and isinstance(error, NOT_A_CONDITION):
                return not_evaluated(table, "DuckDB", type(error).__name__)
            return _failure(self._label, error, table)

        return read_columns(self._connection.cursor(), rows, table.columns, failure)

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()

    def _tables(self) -> list[tuple[str, str]]:
        return self._rows(
            f"SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = '{_CATALOG}' AND NOT temporary "
            "AND schema_name <> 'synth_ops' "
            f"ORDER BY schema_name <> '{_DEFAULT_SCHEMA}', schema_name, table_oid"
        )

    def _columns(self) -> Mapping[tuple[str, str], list[tuple[str, str, bool]]]:
        found = defaultdict(list)
        for schema, table, *column in self._rows(
            "SELECT schema_name, table_name, column_name, data_type, is_nullable FROM duckdb_columns() "
            f"WHERE database_name = '{_CATALOG}' AND NOT is_generated ORDER BY table_oid, column_index"
        ):
            found[schema, table].append((column[0], column[1], column[2]))
        return found

    def _constraints(self, spelling: _Spelling) -> Mapping[tuple[str, str], list[_Constraint]]:
        found = defaultdict(list)
        for schema, table, kind, columns, expression, parent, parent_columns in self._rows(
            "SELECT schema_name, table_name, constraint_type, constraint_column_names, expression, referenced_table, "
            f"referenced_column_names FROM duckdb_constraints() WHERE database_name = '{_CATALOG}' "
            "ORDER BY table_oid, constraint_index"
        ):
            referred = spelling.table(schema, parent or table)
            found[schema, table].append(
                _Constraint(
                    kind=kind,
                    columns=spelling.columns((schema, table), columns),
                    expression=expression or "",
                    parent=referred,
                    parent_columns=spelling.columns(referred, parent_columns),
                )
            )
        return found

    def _unique_indexes(self, spelling: _Spelling) -> Mapping[tuple[str, str], list[tuple[str, ...]]]:
        found = defaultdict(list)
        for schema, table, expressions in self._rows(
            "SELECT schema_name, table_name, expressions::VARCHAR[] FROM duckdb_indexes() "
            f"WHERE database_name = '{_CATALOG}' AND is_unique ORDER BY index_oid"
        ):
            columns = spelling.columns((schema, table), expressions)
            if len(columns) == len(expressions):
                found[schema, table].append(columns)
        return found

    def _table(
        self,
        path: tuple[str, str],
        declared: Sequence[tuple[str, str, bool]],
        constraints: Sequence[_Constraint],
        indexes: Sequence[tuple[str, ...]],
    ) -> Table:
        columns = reflect_columns(self._connection, _table_sql(path), declared)
        self.warnings += type_warnings(_name(path), columns)
        by_kind = defaultdict(list)
        for constraint in constraints:
            by_kind[constraint.kind].append(constraint)
        checks = usable((Check(expression=c.expression, columns=c.columns) for c in by_kind["CHECK"]), columns)
        labels = [check for name, native, _ in declared if (check := enum_check(name, native))]
        return Table(
            name=_name(path),
            path=path,
            columns=columns,
            primary_key=next((c.columns for c in by_kind["PRIMARY KEY"]), ()),
            uniques=tuple(dict.fromkeys([*(c.columns for c in by_kind["UNIQUE"]), *indexes])),
            foreign_keys=tuple(
                ForeignKey(columns=c.columns, parent=_name(c.parent), parent_columns=c.parent_columns)
                for c in by_kind["FOREIGN KEY"]
            ),
            checks=(*checks, *labels),
            unsupported_checks=len(by_kind["CHECK"]) - len(checks),
        )


class _Spelling:
    """How tables and columns are really spelled: constraints name them as they were typed, in any case, or quoted."""

    def __init__(self, columns: Mapping[tuple[str, str], Sequence[tuple[str, str, bool]]]) -> None:
        self._tables = {(schema, table.lower()): (schema, table) for schema, table in columns}
        self._columns = {
            path: {form.lower(): name for name, _, _ in found for form in (name, quote(name))}
            for path, found in columns.items()
        }

    def table(self, schema: str, name: str) -> tuple[str, str]:
        """The path of a table."""
        return self._tables[schema, name.lower()]

    def columns(self, table: tuple[str, str], names: Sequence[str]) -> tuple[str, ...]:
        """The columns of those names; what is none (an expression, a generated column) is left out."""
        known = self._columns[table]
        return tuple(known[name.lower()] for name in names if name.lower() in known)


def _name(path: tuple[str, str]) -> str:
    schema, table = path
    return table if schema == _DEFAULT_SCHEMA else f"{schema}.{table}"


def _table_sql(path: Sequence[str]) -> str:
    return ".".join(quote(part) for part in (_CATALOG, *path))


def _failure(label: str, error: Exception, table: Table | None = None) -> SourceError:
    what = f"table {table.name!r} of {label}" if table else label
    text = str(error)
    if "lock on file" in text or "already attached" in text or "file handle conflict" in text:
        return SourceUnavailableError(f"{label} is locked by a writer", "try again when the writer has closed it")
    if "not a valid DuckDB" in text or "not enough bytes" in text or "Could not read" in text:
        return SourceError(f"{label} is not a DuckDB file, or is cut short", "check how the file was made and copied")
    if "version" in text and "Serialization" in type(error).__name__:
        return SourceError(f"{label} was written by another version of DuckDB", "upgrade duckdb")
    return SourceError(f"{what} can't be read ({type(error).__name__})", "check that DuckDB itself can read the file")
