"""Which references to reference data say under whom rows lie: those with many families, none of them large.

Reference data are known by their groups: a row that many refer to is a group of its own, and keeps its share of them.
Of rows that few refer to, each, no group can tell what their children have in common, or how many they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synth_ops.generators.relational_trees.learning.state import SOURCE
from synth_ops.metadata import ForeignKey, Metadata, Table
from synth_ops.sql import K_SUBJECTS, columns_sql, quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

_FEWEST_FAMILIES = 10 * K_SUBJECTS
_FEWEST_USED = 0.5
"""The share of rows that others refer to: where most have none, the few that do have groups of their own."""
_MOST_BEYOND = 0.05
"""The share of rows by which families are larger than the k-th largest one: what no number of children tells of."""


def find_families(
    connection: duckdb.DuckDBPyConnection, metadata: Metadata, rows: Mapping[str, int]
) -> dict[str, frozenset[tuple[str, ...]]]:
    """The columns of such foreign keys, by table.

    Looked at are references to fewer rows than refer to them: a few each, or as a part of the table's key, as what is
    translated is of its translations. References that share a column are picked together, not one under the other.

    Args:
        connection: With the snapshot's tables.
        rows: How many each table has.
    """
    return {
        table.name: frozenset(
            key.columns
            for key in table.foreign_keys
            if key.parent != table.name
            and not any(set(key.columns) & set(other.columns) for other in table.foreign_keys if other != key)
            and _FEWEST_FAMILIES <= rows[key.parent] < rows[table.name]
            and _has_families(connection, table, key, rows)
        )
        for table in metadata.tables
    }


def _has_families(
    connection: duckdb.DuckDBPyConnection, table: Table, key: ForeignKey, rows: Mapping[str, int]
) -> bool:
    """Whether most rows have children, a few each or as parts of a key, and none many more than k others."""
    names = columns_sql(key.columns)
    known = " AND ".join(f"{quote(name)} IS NOT NULL" for name in key.columns)
    sizes = f"SELECT count(*) AS n FROM {quote(SOURCE)}.{quote(table.name)} WHERE {known} GROUP BY {names}"
    ((families, beyond),) = connection.sql(
        f"SELECT count(*), sum(greatest(n - usual, 0)) / sum(n) FROM ({sizes}), "
        f"(SELECT min(n) AS usual FROM (SELECT n FROM ({sizes}) ORDER BY n DESC LIMIT {K_SUBJECTS}))"
    ).fetchall()
    few = rows[table.name] < K_SUBJECTS * families or set(key.columns) < set(table.primary_key)
    enough = families >= _FEWEST_FAMILIES and families >= _FEWEST_USED * rows[key.parent]
    return bool(few and enough and beyond <= _MOST_BEYOND)
