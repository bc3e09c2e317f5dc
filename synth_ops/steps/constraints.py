"""Hold what is declared against the data: keys that rows repeat, CHECKs that rows break. Only counts are told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from synth_ops.artifacts import TableData
from synth_ops.errors import MetadataError, refuse_interruption
from synth_ops.metadata import Check, Metadata, Table
from synth_ops.sql import columns_sql, connect, quote, relation_sql

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TOLERATED = 0.05
"""The largest share of rows that may repeat a key: where more do, something else is the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Findings:
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def hold_to_data(
    metadata: Metadata, tables: Mapping[str, TableData], declared: Mapping[str, Sequence[str]]
) -> tuple[Metadata, list[str]]:
    """Count how often the data break their keys and checks.

    Args:
        declared: The recipe's checks, by table. One that every row breaks is a mistake there; one of the source means
            something else there than to DuckDB.

    Returns:
        The metadata, without the CHECKs that nothing could hold a copy to; and what was found, a line each.

    Raises:
        MetadataError: More than 5 % of the rows repeat a key, or all rows break a check of the recipe.
    """
    found = _Findings()
    kept = []
    with connect() as connection:
        for table in metadata.tables:
            data = tables[table.name]
            _count_keys(connection, table, data, found)
            kept.append(_with_checks_that_hold(connection, table, data, declared.get(table.name, ()), found))
    if found.problems:
        raise MetadataError(found.problems, "correct or leave out what the recipe's `tables` section says of it")
    return dataclasses.replace(metadata, tables=tuple(kept)), found.warnings


def _count_keys(connection: DuckDBPyConnection, table: Table, data: TableData, found: _Findings) -> None:
    """One query a table. A row with NULL in a unique key repeats nothing, as in SQL."""
    if not table.keys or not data.rows:
        return
    rows = relation_sql(data)
    counts = []
    for key in table.keys:
        whole = f"FROM {rows} WHERE {' AND '.join(f'{quote(column)} IS NOT NULL' for column in key)}"
        distinct = f"SELECT count(*) FROM (SELECT DISTINCT {columns_sql(key)} {whole})"
        counts += [f"(SELECT count(*) {whole})", f"({distinct})"]
    numbers = [int(number) for number in connection.sql(f"SELECT {', '.join(counts)}").fetchall()[0]]
    for key, known, different in zip(table.keys, numbers[::2], numbers[1::2], strict=True):
        what = "primary key" if key == table.primary_key else "unique key"
        name = f"{what} ({', '.join(key)}) of table {table.name!r}"
        repeated, empty = known - different, data.rows - known
        line = f"{name}: {repeated:,} of {data.rows:,} rows repeat it"
        if repeated > _TOLERATED * data.rows:
            found.problems.append(line)
        elif repeated:
            found.warnings.append(f"{line}; the copy has none that do")
        if empty and key == table.primary_key:
            found.warnings.append(f"{name}: {empty:,} of {data.rows:,} rows hold NULL in it; the copy has none that do")


def _with_checks_that_hold(
    connection: DuckDBPyConnection, table: Table, data: TableData, declared: Sequence[str], found: _Findings
) -> Table:
    """Leave out CHECKs that DuckDB can't evaluate on the data, or that none of the source's rows meets."""
    kept = []
    for check in table.checks:
        name = f"a check on ({', '.join(check.columns)}) of table {table.name!r}"
        broken = _rows_that_break(connection, check, data)
        line = f"{name}: {broken:,} of {data.rows:,} rows break it" if broken else ""
        if broken is None:
            found.warnings.append(f"{name} can't be read: not enforced")
        elif broken < data.rows or not broken:
            kept.append(check)
            found.warnings.extend([f"{line}; the copy has none that do"] if line else [])
        elif check.expression in declared:
            found.problems.append(line)
        else:
            found.warnings.append(f"{line}, as it is read here: not enforced")
    lost = len(table.checks) - len(kept)
    return dataclasses.replace(table, checks=tuple(kept), unsupported_checks=table.unsupported_checks + lost)


def _rows_that_break(connection: DuckDBPyConnection, check: Check, data: TableData) -> int | None:
    """None where DuckDB can't tell."""
    import duckdb

    query = f"SELECT count(*) FROM {relation_sql(data)} WHERE NOT ({check.expression})"
    try:
        return int(connection.sql(query).fetchall()[0][0])
    except duckdb.Error as error:
        refuse_interruption(error)
        return None
