"""How many children a parent has, in the source and in the copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synth_ops import sql
from synth_ops.artifacts import Snapshot, SyntheticCopy, TableData
from synth_ops.metadata import ForeignKey, Table
from synth_ops.report.distributions import SOURCE, owners_sql, supported_bins
from synth_ops.sql import K_SUBJECTS

if TYPE_CHECKING:
    import duckdb

_PARENTS = 50_000
_WHOLE = 2
"""Up to so many children each count has a bar of its own; above it bars double."""
_OWNER = "parent_subject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cardinality:
    """The children of one reference.

    Attributes:
        labels: How many children: `0`, `1`, `2`, `3-4`, `5-8`, ...
        real, copy: The shares of parents with so many.
    """

    key: ForeignKey
    labels: tuple[str, ...]
    real: tuple[float, ...]
    copy: tuple[float, ...]


def cardinality(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, copy: SyntheticCopy, table: Table, key: ForeignKey
) -> Cardinality | None:
    """Count the children of at most about 50,000 parents of each side; each bar has k subjects behind it.

    The schema `source` holds the snapshot's tables already.

    Returns:
        None where fewer than k subjects are parents.

    Raises:
        duckdb.Error: A table can't be read on one side.
        KeyError: The copy lacks a table.
    """
    subjects = sql.subjects_sql(snapshot.metadata, key.parent, SOURCE)
    own = f"SELECT {sql.columns_sql(key.parent_columns)}, {sql.SUBJECT} AS {_OWNER} FROM ({subjects})"
    real = _counts(connection, own, snapshot.tables, table, key)
    made = (
        f"SELECT {sql.columns_sql(key.parent_columns)}, 0 AS {_OWNER} FROM {sql.relation_sql(copy.tables[key.parent])}"
    )
    copied = _counts(connection, made, copy.tables, table, key)
    most = max([*real, *copied], default=-1) + 1
    held = [real.get(b, (0, []))[1] for b in range(most)]
    if len({owner for owners in held for owner in owners}) < K_SUBJECTS:
        return None
    groups = list(supported_bins(held))
    shares = []
    for side in (real, copied):
        total = max(sum(n for n, _ in side.values()), 1)
        shares.append(tuple(sum(side.get(b, (0, []))[0] for b in range(*group)) / total for group in groups))
    labels = tuple(_label(start, end) for start, end in groups)
    return Cardinality(key=key, labels=labels, real=shares[0], copy=shares[1])


def _counts(
    connection: duckdb.DuckDBPyConnection, parents: str, tables: Mapping[str, TableData], table: Table, key: ForeignKey
) -> dict[int, tuple[int, list[int]]]:
    """By bin: how many parents, and some of the subjects behind them."""
    there, here = sql.columns_sql(key.parent_columns), sql.columns_sql(key.columns)
    share = f"{max(tables[key.parent].rows, 1)} < {_PARENTS}"
    match = " AND ".join(
        f"p.{sql.quote(one)} = c.{sql.quote(other)}" for one, other in zip(key.parent_columns, key.columns, strict=True)
    )
    children = f"SELECT {here}, count(*) AS n FROM {sql.relation_sql(tables[table.name])} GROUP BY {here}"
    counted = (
        f"SELECT coalesce(c.n, 0) AS n, p.{_OWNER} FROM (SELECT * FROM ({parents}) WHERE hash({there}) % {share}) p "
        f"LEFT JOIN ({children}) c ON {match}"
    )
    place = f"CASE WHEN n <= {_WHOLE} THEN n ELSE CAST(ceil(log2(n)) AS INTEGER) + 1 END"
    query = f"SELECT {place} AS b, count(*), {owners_sql(_OWNER)} FROM ({counted}) GROUP BY b"
    return {b: (n, owners or []) for b, n, owners in connection.execute(query).fetchall()}


def _label(start: int, end: int) -> str:
    """The children that bins from `start` up to `end` stand for.

    >>> _label(1, 2), _label(3, 4), _label(4, 6)
    ('1', '3-4', '5-16')
    """
    low = start if start <= _WHOLE else 2 ** (start - 2) + 1
    high = end - 1 if end - 1 <= _WHOLE else 2 ** (end - 2)
    return str(low) if low == high else f"{low}-{high}"
