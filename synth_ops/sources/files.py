"""Folders of Parquet or CSV files: a file, or a subfolder of part files, is a table."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from synth_ops.errors import SourceError, SynthOpsError
from synth_ops.location import Location
from synth_ops.metadata import Metadata, Table
from synth_ops.sources.conditions import not_evaluated
from synth_ops.sources.csv_dialect import csv_sql
from synth_ops.sources.duckdb_types import NOT_A_CONDITION, read_columns, reflect_columns, type_warnings
from synth_ops.sources.files_on_disk import (
    digest,
    path_of,
    require_file,
    require_folder,
    unreadable,
    way_out_when_missing,
)
from synth_ops.sql import connect, file_literal, where_sql

_LINE = re.compile(r"CSV Error on Line: (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFormat:
    """What differs between the formats.

    Attributes:
        relation: Makes a table expression over the files of one table, in their order.
        required: Finds the columns that the files declare to hold no NULL.
    """

    suffixes: tuple[str, ...]
    relation: Callable[[duckdb.DuckDBPyConnection, Sequence[Path]], str]
    required: Callable[[Sequence[Path]], frozenset[str]]


def _parquet_sql(_: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> str:
    return f"read_parquet([{', '.join(map(file_literal, files))}], hive_partitioning = false)"


def _parquet_required(files: Sequence[Path]) -> frozenset[str]:
    """Reads every file's footer, which also finds those that are cut short."""
    return frozenset.intersection(*map(_required_in_file, files))


def _required_in_file(path: Path) -> frozenset[str]:
    require_file(path, repr(path.name))
    try:
        return frozenset(field.name for field in pq.read_schema(path) if not field.nullable)
    except (pa.ArrowException, OSError):
        raise SourceError(
            f"{path.name!r} is not a Parquet file, or is cut short", "check how it was written and copied"
        ) from None


_PARQUET = FileFormat(suffixes=(".parquet",), relation=_parquet_sql, required=_parquet_required)
_CSV = FileFormat(suffixes=(".csv", ".csv.gz", ".tsv", ".tsv.gz"), relation=csv_sql, required=lambda _: frozenset())


class _FolderSource:
    version = "1"
    _format: FileFormat

    def __init__(self, location: Location) -> None:
        self.label = location.label
        self.path = path_of(location)
        self._way_out = way_out_when_missing(location)

    def state(self) -> str:
        """A digest of the names and contents of all files that are read."""
        files = self._files()
        return digest(
            ((str(path.relative_to(self.path)), path) for table in files.values() for path in table), self.label
        )

    @contextlib.contextmanager
    def session(self) -> Iterator[FolderSession]:
        """List the folder. Files that change while the session is open are read as they then are.

        Raises:
            SourceError: There is no such folder, or no table in it.
        """
        files = self._files()
        with connect() as connection:
            yield FolderSession(connection, files, self._format)

    def _files(self) -> dict[str, list[Path]]:
        require_folder(self.path, self.label, self._way_out)
        return _tables_of(self.path, self._format.suffixes, self.label)


class ParquetSource(_FolderSource):
    """A folder of Parquet files: `<table>.parquet`, or `<table>/*.parquet`.

    Args:
        location: The folder's.
    """

    _format = _PARQUET


class CSVSource(_FolderSource):
    """A folder of CSV files with header lines: `<table>.csv`, `.tsv`, either with `.gz`, or subfolders of them.

    Args:
        location: The folder's.
    """

    _format = _CSV


class FolderSession:
    """One look at a folder.

    Attributes:
        warnings: What could not be taken over as it is, by name.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, files: Mapping[str, Sequence[Path]], format_: FileFormat
    ) -> None:
        self._connection = connection
        self._files = files
        self._format = format_
        self._relations: dict[str, str] = {}
        self.warnings: list[str] = []
        self.position: Mapping[str, str] = {}
        self.may_write = ""

    def metadata(self) -> Metadata:
        """A table a file or subfolder; files declare no keys. A Parquet column is required if its file says so."""
        return Metadata(tables=tuple(self._table(name, files) for name, files in self._files.items()))

    def read(self, table: Table, where: str = "") -> pa.RecordBatchReader:
        """Stream a table in the order of its rows in its files, the files by name."""
        (name,) = table.path
        rows = self._relation(name) + where_sql(where)

        def failure(error: Exception) -> SynthOpsError:
            if where and isinstance(error, NOT_A_CONDITION):
                return not_evaluated(table, "DuckDB", type(error).__name__)
            return _failure(name, self._files[name], error)

        return read_columns(self._connection.cursor(), rows, table.columns, failure)

    def _table(self, name: str, files: Sequence[Path]) -> Table:
        required = self._format.required(files)
        relation = self._relation(name)
        try:
            described = self._connection.execute(f"DESCRIBE FROM {relation}").fetchall()
            declared = [(column, kind, column not in required) for column, kind, *_ in described]
            columns = reflect_columns(self._connection, relation, declared)
        except duckdb.Error as error:
            raise _failure(name, files, error) from None
        self.warnings += type_warnings(name, columns)
        return Table(
            name=name, path=(name,), columns=tuple(dataclasses.replace(column, native_type="") for column in columns)
        )

    def _relation(self, name: str) -> str:
        if name not in self._relations:
            for path in self._files[name]:
                require_file(path, repr(path.name))
            try:
                self._relations[name] = self._format.relation(self._connection, self._files[name])
            except (duckdb.Error, EOFError) as error:
                raise _failure(name, self._files[name], error) from None
            except OSError as error:
                raise unreadable(f"a file of table {name!r}", error) from None
        return self._relations[name]


def _tables_of(folder: Path, suffixes: tuple[str, ...], label: str) -> dict[str, list[Path]]:
    """The files of every table, by its name; hidden files and those beginning with `_` are none."""
    found: dict[str, list[Path]] = {}
    try:
        for entry in sorted(folder.iterdir()):
            parts = sorted(entry.iterdir()) if entry.is_dir() else [entry]
            files = [path for path in parts if path.name.lower().endswith(suffixes) and path.name[0] not in "._"]
            if not files or entry.name[0] in "._":
                continue
            name = entry.name if entry.is_dir() else _stem(entry.name, suffixes)
            if name.lower() in {known.lower() for known in found}:
                raise SourceError(f"{label} holds table {name!r} twice", "rename or remove one of the files")
            found[name] = files
    except OSError as error:
        raise unreadable(label, error) from None
    if not found:
        raise SourceError(f"{label} holds no {suffixes[0]} files", "check the path and the URL's scheme")
    return found


def _stem(name: str, suffixes: tuple[str, ...]) -> str:
    return next(name[: -len(suffix)] for suffix in suffixes if name.lower().endswith(suffix))


def _failure(table: str, files: Sequence[Path], error: Exception) -> SourceError:
    text = str(error)
    named = next((path for path in files if f"file = {path}\n" in f"{text}\n"), files[0])
    what = repr(named.name) if named in files[:1] and len(files) == 1 else f"a file of table {table!r}"
    if "Invalid unicode" in text:
        return SourceError(f"{what} is not UTF-8 text", "save it as UTF-8")
    line = _LINE.search(text)
    if line:
        where = f"{named.name!r}, line {line[1]}"
        return SourceError(f"{where}: the row does not fit the header or its quotes don't close", "correct the line")
    return SourceError(f"{what} can't be read ({type(error).__name__})", "check how it was written and copied")
