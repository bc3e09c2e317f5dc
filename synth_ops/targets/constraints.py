"""Every declared constraint, verified by query before anything is built: the databases' own texts may hold values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import duckdb

from synth_ops import sql
from synth_ops.artifacts import TableData
from synth_ops.errors import PublishError
from synth_ops.metadata import Check, ForeignKey, Metadata, Orphans, Table

_NOT_SQL = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.NotImplementedException)


def rows_sql(table: Table, data: TableData) -> str:
    """A table expression over a table's rows, with its columns in order and of their types."""
    if not data.files:
        nothing = ", ".join(f"NULL::{column.type} AS {sql.quote(column.name)}" for column in table.columns)
        return f"(SELECT {nothing} WHERE false)"
    typed = ", ".join(f"CAST({sql.quote(c.name)} AS {c.type}) AS {sql.quote(c.name)}" for c in table.columns)
    return f"(SELECT {typed} FROM {sql.relation_sql(data)})"


def verify(reader: duckdb.DuckDBPyConnection, metadata: Metadata, tables: Mapping[str, TableData]) -> None:
    """Count the rows that break a key, a reference that is to hold, a NOT NULL or a CHECK.

    Raises:
        PublishError: With every broken constraint, by the names of its table and columns.
    """
    missing = [name for name in metadata.table_names if name not in tables]
    if missing:
        raise PublishError(f"the copy lacks tables: {', '.join(map(repr, missing))}", "sample again")
    problems = [
        f"table {table.name!r}: {problem}"
        for table in metadata.tables
        for problem in _problems(reader, metadata, table, tables)
    ]
    if problems:
        raise PublishError("; ".join(problems), "correct the recipe's `tables` section or the generator; sample again")


def enforceable_foreign_keys(metadata: Metadata, table: Table) -> list[ForeignKey]:
    """The foreign keys that a database could enforce: they are to hold, and refer to a declared key.

    Their columns are put into the order of that key, which some databases insist on.
    """
    found = []
    for key in table.foreign_keys:
        pairs = dict(zip(key.parent_columns, key.columns, strict=True))
        for parent_key in metadata.table(key.parent).keys:
            if key.orphans is Orphans.REPAIR and len(parent_key) == len(pairs) and set(parent_key) == set(pairs):
                columns = tuple(pairs[column] for column in parent_key)
                found.append(replace(key, columns=columns, parent_columns=parent_key))
                break
    return found


def refuse_colliding_names(metadata: Metadata, place: Callable[[Table], str], reserved: str, product: str) -> None:
    """Refuse names that a database which ignores the case of ASCII letters can't tell apart.

    Args:
        place: A table's name in the target.
        reserved: The name of the publication table.

    Raises:
        PublishError: With all of them.
    """
    places = [place(table) for table in metadata.tables]
    problems = [f"{one!r} and {two!r}" for one, two in _collisions([reserved, *places])]
    for table in metadata.tables:
        problems += [f"{table.name!r}.{one!r} and {two!r}" for one, two in _collisions(table.column_names)]
    if problems:
        raise PublishError(
            f"{product} can't tell these names apart: {'; '.join(problems)}", "rename them, or publish to Parquet"
        )


def _collisions(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    seen: dict[bytes, str] = {}
    for name in names:
        folded = name.encode("utf-8", "surrogatepass").lower()
        if folded in seen:
            yield seen[folded], name
        seen[folded] = name


def _problems(
    connection: duckdb.DuckDBPyConnection, metadata: Metadata, table: Table, tables: Mapping[str, TableData]
) -> Iterator[str]:
    data = tables[table.name]
    rows = f"{rows_sql(table, data)} AS {sql.quote(table.name.rpartition('.')[2] or 'rows')}"
    try:
        yield from _null_problems(connection, table, data, rows)
        for key in table.keys:
            known = _all_known(key)
            columns = sql.columns_sql(key)
            repeated = f"SELECT 1 FROM {rows} WHERE {known} GROUP BY {columns} HAVING count(*) > 1"
            if count := _count(connection, f"({repeated})"):
                yield f"{count} keys ({', '.join(key)}) are repeated"
        for reference in table.foreign_keys:
            if reference.orphans is Orphans.REPAIR and (
                count := _count(connection, _orphans_sql(metadata, table, reference, tables))
            ):
                yield f"{count} rows refer by ({', '.join(reference.columns)}) to no row of {reference.parent!r}"
        for check in table.checks:
            yield from _check_problems(connection, check, rows)
    except _NOT_SQL:
        yield "its files lack columns that the metadata lists"
    except (duckdb.ConversionException, duckdb.OutOfRangeException):
        yield "its files hold values that do not fit the columns' types"


def _null_problems(connection: duckdb.DuckDBPyConnection, table: Table, data: TableData, rows: str) -> Iterator[str]:
    counted = [column for column in table.column_names if column in table.required]
    nulls = "".join(f", count(*) - count({sql.quote(column)})" for column in counted)
    found = connection.execute(f"SELECT count(*){nulls} FROM {rows}").fetchall()[0]
    if found[0] != data.rows:
        yield f"its files hold {found[0]} rows, not {data.rows}"
    for column, count in zip(counted, found[1:], strict=True):
        if count:
            yield f"{count} rows hold NULL in {column!r}, which may not"


def _check_problems(connection: duckdb.DuckDBPyConnection, check: Check, rows: str) -> Iterator[str]:
    try:
        count = _count(connection, f"{rows} WHERE NOT ({check.expression})")
    except _NOT_SQL:
        return  # the gate reports CHECKs that DuckDB can't evaluate
    if count:
        yield f"{count} rows break the CHECK on ({', '.join(check.columns)})"


def _orphans_sql(metadata: Metadata, table: Table, key: ForeignKey, tables: Mapping[str, TableData]) -> str:
    parent = metadata.table(key.parent)
    same = []
    for column, parent_column in zip(key.columns, key.parent_columns, strict=True):
        child = f"child.{sql.quote(column)}"
        wanted = parent.column(parent_column).type
        if table.column(column).type != wanted:
            child = f"TRY_CAST({child} AS {wanted})"
        same.append(f"parent.{sql.quote(parent_column)} = {child}")
    return (
        f"{rows_sql(table, tables[table.name])} AS child WHERE {_all_known(key.columns, 'child.')} AND NOT EXISTS "
        f"(SELECT 1 FROM {rows_sql(parent, tables[parent.name])} AS parent WHERE {' AND '.join(same)})"
    )


def _all_known(columns: Sequence[str], prefix: str = "") -> str:
    return " AND ".join(f"{prefix}{sql.quote(column)} IS NOT NULL" for column in columns)


def _count(connection: duckdb.DuckDBPyConnection, rows: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {rows}").fetchall()[0][0])
