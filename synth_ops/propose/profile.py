"""What every column looks like from afar, in one query a table; and what a proposal is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

from synth_ops.metadata import Metadata, Table
from synth_ops.sql import quote

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One key or reference that the source does not declare.

    Attributes:
        references, parent_columns: For a foreign key: the parent table and its columns.
        evidence: One line of counts and names, without values.
        orphans: For a foreign key: the share of values that the parent lacks.
    """

    kind: Literal["primary_key", "unique", "foreign_key"]
    table: str
    columns: tuple[str, ...]
    references: str = ""
    parent_columns: tuple[str, ...] = ()
    evidence: str
    orphans: float = 0.0


class Family(Enum):
    """Types whose values can be equal to each other."""

    TEXT = "text"
    WHOLE = "whole"
    TIME = "time"
    OTHER = "other"
    """Never part of a key: fractions, booleans, bytes, nested types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """One column, counted.

    Attributes:
        values: How many are not NULL.
        distinct: How many different ones, roughly.
        length: The mean length of texts; 0 for other families.
    """

    name: str
    position: int
    family: Family
    values: int
    distinct: int
    length: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TableProfile:
    """One table, counted.

    Attributes:
        sql: How to name it in a query.
    """

    table: Table
    sql: str
    rows: int
    columns: Mapping[str, ColumnProfile]

    @property
    def name(self) -> str:
        """The table's name."""
        return self.table.name

    def complete(self) -> Iterable[ColumnProfile]:
        """Those columns that can be part of a key: of a comparable type, and without NULLs."""
        return (c for c in self.columns.values() if c.family is not Family.OTHER and c.values == self.rows)


def family(kind: str) -> Family:
    """The family of a DuckDB type.

    >>> [family(t).value for t in ("UUID", "DECIMAL(10,0)", "TIMESTAMP WITH TIME ZONE", "VARCHAR[]", "DOUBLE")]
    ['text', 'whole', 'time', 'other', 'other']
    """
    if kind in ("VARCHAR", "UUID"):
        return Family.TEXT
    if re.fullmatch(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DECIMAL\(\d+,0\)", kind):
        return Family.WHOLE
    if re.fullmatch(r"DATE|TIMESTAMP(_\w+| WITH TIME ZONE)?", kind):
        return Family.TIME
    return Family.OTHER


def profile(connection: duckdb.DuckDBPyConnection, metadata: Metadata, schema: str) -> dict[str, TableProfile]:
    """The profiles of all tables, by name."""
    return {
        table.name: _profile(connection, table, f"{quote(schema)}.{quote(table.name)}") for table in metadata.tables
    }


def _profile(connection: duckdb.DuckDBPyConnection, table: Table, sql: str) -> TableProfile:
    families = {column.name: family(column.type) for column in table.columns}
    measures = ["count(*)"]
    for name, kind in families.items():
        column = quote(name)
        length = f"coalesce(avg(length({column}::VARCHAR)), 0)" if kind is Family.TEXT else "0"
        distinct = "0" if kind is Family.OTHER else f"approx_count_distinct({column})"
        measures += [f"count({column})", distinct, length]
    ((rows, *counts),) = connection.execute(f"SELECT {', '.join(measures)} FROM {sql}").fetchall()
    return TableProfile(
        table=table,
        sql=sql,
        rows=rows,
        columns={
            name: ColumnProfile(
                name=name,
                position=position,
                family=kind,
                values=counts[3 * position],
                distinct=counts[3 * position + 1],
                length=float(counts[3 * position + 2]),
            )
            for position, (name, kind) in enumerate(families.items())
        },
    )
