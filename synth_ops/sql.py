"""DuckDB over Parquet: the one way in which steps, checks and generators look at tables."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from synth_ops.artifacts import TableData
from synth_ops.metadata import ForeignKey, Metadata, subject_path

if TYPE_CHECKING:
    import duckdb

ROW = "__synth_ops_row"
SUBJECT = "__synth_ops_subject"
THREADS_VARIABLE = "SYNTH_OPS_THREADS"
"""Says how many threads DuckDB may use; as many as there are processors, where it is not set."""
MEMORY_LIMIT = "1GB"
K_SUBJECTS = 5
"""A value is public when at least so many subjects have it."""
_LABEL = re.compile(r"'(?:[^']|'')*'")
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_NUMBERS = (*_INTEGERS, "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "REAL")


def quote(name: str) -> str:
    """An identifier, quoted for DuckDB (and for every dialect that quotes as the SQL standard does).

    >>> quote("order by")
    '"order by"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string, quoted as a literal.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def where_sql(condition: str) -> str:
    r"""A WHERE clause; nothing for no condition. A comment at the condition's end ends with it.

    >>> where_sql("price > 0")
    ' WHERE (price > 0\n)'
    """
    return f" WHERE ({condition}\n)" if condition else ""


def file_literal(path: Path) -> str:
    """A file's path as a literal for DuckDB's readers, which take `*`, `?` and `[` for patterns.

    >>> file_literal(Path("/data/[prod]/t.parquet"))
    "'/data/[[]prod]/t.parquet'"
    """
    return literal(re.sub(r"([*?\[])", r"[\1]", str(path)))


def without_labels(type_name: str) -> str:
    """A type as people may read it: the labels of an enumeration are values of the source, and are counted.

    >>> without_labels("ENUM('a', 'it''s')"), without_labels("DECIMAL(10,2)")
    ('ENUM(2 labels)', 'DECIMAL(10,2)')
    """

    def counted(labels: re.Match[str]) -> str:
        return f"({len(_LABEL.findall(labels[0]))} labels)"

    return re.sub(rf"\(\s*{_LABEL.pattern}(?:\s*,\s*{_LABEL.pattern})*\s*\)", counted, type_name)


def is_text(type_name: str) -> bool:
    """Whether a DuckDB type is a plain text.

    >>> is_text("VARCHAR"), is_text("VARCHAR[]"), is_text("UUID")
    (True, False, False)
    """
    return type_name.upper().partition("(")[0].strip() in ("VARCHAR", "TEXT", "CHAR", "BPCHAR", "STRING")


def is_integer(type_name: str) -> bool:
    """Whether a DuckDB type is a whole number.

    >>> is_integer("BIGINT"), is_integer("DECIMAL(10,0)"), is_integer("INTEGER[]")
    (True, False, False)
    """
    return type_name.upper() in (*_INTEGERS, "UHUGEINT")


def is_number(type_name: str) -> bool:
    """Whether a DuckDB type is a number.

    >>> is_number("DECIMAL(10,2)"), is_number("DATE"), is_number("DOUBLE[]")
    (True, False, False)
    """
    return type_name.upper().partition("(")[0] in _NUMBERS and not type_name.endswith("]")


def is_time(type_name: str) -> bool:
    """Whether a DuckDB type is a date, or a date and a time.

    >>> is_time("DATE"), is_time("TIMESTAMP WITH TIME ZONE"), is_time("TIME")
    (True, True, False)
    """
    return type_name.upper() == "DATE" or (type_name.upper().startswith("TIMESTAMP") and not type_name.endswith("]"))


def columns_sql(names: Iterable[str], prefix: str = "") -> str:
    """Quoted names, joined by commas.

    >>> columns_sql(["a", "b"], prefix="t")
    't."a", t."b"'
    """
    start = f"{prefix}." if prefix else ""
    return ", ".join(start + quote(name) for name in names)


def picked_sql(data: TableData, most: int) -> str:
    """A table expression for about so many of a table's rows, spread over it: the same ones every time."""
    step = max(1, data.rows // most)
    rows = relation_sql(data, row_numbers=True)
    return f"(SELECT * EXCLUDE (file_row_number) FROM {rows} WHERE hash(file_row_number) % {step} = 0)"


@contextlib.contextmanager
def connect(*, memory_limit: str = MEMORY_LIMIT, threads: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory DuckDB: UTC, no network extensions, bounded memory, rows in file order."""
    import duckdb

    connection = duckdb.connect(config={"memory_limit": memory_limit, "autoinstall_known_extensions": False})
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET temp_directory = {literal(str(Path(tempfile.gettempdir()) / 'synth-ops-duckdb'))}")
        threads = threads or int(os.environ.get(THREADS_VARIABLE, "0"))
        if threads:
            connection.execute(f"SET threads = {int(threads)}")
        yield connection
    finally:
        connection.close()


def relation_sql(data: TableData, *, row_numbers: bool = False) -> str:
    """A table expression over a table's Parquet files."""
    files = ", ".join(map(file_literal, data.files))
    suffix = ", file_row_number = true" if row_numbers else ""
    return f"read_parquet([{files}], hive_partitioning = false{suffix})"


def register(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, TableData], schema: str) -> None:
    """Make every table a view `schema."table name"`."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}")
    for name, data in tables.items():
        connection.execute(
            f"CREATE OR REPLACE VIEW {quote(schema)}.{quote(name)} AS SELECT * FROM {relation_sql(data)}"
        )


def subjects_sql(metadata: Metadata, table: str, schema: str, path: tuple[ForeignKey, ...] | None = None) -> str:
    """A query for all rows of a table with one more column, `SUBJECT`: whom the row belongs to, NULL for nobody known.

    Where no path leads to a person, every row stands for itself and the column is the row's number. The rows come in
    any order: see `subjects_in_order_sql`.

    Args:
        path: The foreign keys to the person; those of `subject_path` when left out.
    """
    return _with_subjects(metadata, table, schema, path, f"{quote(schema)}.{quote(table)}")


def subjects_in_order_sql(metadata: Metadata, table: str, schema: str, path: tuple[ForeignKey, ...]) -> str:
    """A query for the column `SUBJECT` alone, its rows in the table's own order: joins know none."""
    rows = f"(SELECT *, row_number() OVER () AS {quote(ROW)} FROM {quote(schema)}.{quote(table)})"
    return f"SELECT {quote(SUBJECT)} FROM ({_with_subjects(metadata, table, schema, path, rows)}) ORDER BY {quote(ROW)}"


def _with_subjects(metadata: Metadata, table: str, schema: str, path: tuple[ForeignKey, ...] | None, rows: str) -> str:
    path = subject_path(metadata, table) if path is None else path
    start = f"{rows} t0"
    if path is None or (not path and not metadata.table(table).primary_key):
        return f"SELECT t0.*, row_number() OVER () AS {quote(SUBJECT)} FROM {start}"
    if not path:
        own = columns_sql(metadata.table(table).primary_key, "t0")
        return f"SELECT t0.*, hash({own}) AS {quote(SUBJECT)} FROM {start}"
    joins, owner = "", "t0"
    for depth, key in enumerate(path[:-1], start=1):
        on = " AND ".join(
            f"{owner}.{quote(child)} = t{depth}.{quote(parent)}"
            for child, parent in zip(key.columns, key.parent_columns, strict=True)
        )
        # a parent key that the data repeats must not repeat the child's rows
        distinct = f"SELECT DISTINCT ON ({columns_sql(key.parent_columns)}) * FROM {quote(schema)}.{quote(key.parent)}"
        joins += f" LEFT JOIN ({distinct}) t{depth} ON {on}"
        owner = f"t{depth}"
    last = columns_sql(path[-1].columns, owner)
    known = " AND ".join(f"{owner}.{quote(column)} IS NOT NULL" for column in path[-1].columns)
    return f"SELECT t0.*, CASE WHEN {known} THEN hash({last}) END AS {quote(SUBJECT)} FROM {start}{joins}"
