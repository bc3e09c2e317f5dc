"""How a PostgreSQL server would run queries: the shapes of its plans, and nothing of what stands in its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import sqlglot
from sqlglot import expressions

_PASSED_THROUGH = frozenset({"Gather", "Gather Merge", "Hash", "Materialize", "Memoize", "Result", "Subquery Scan"})
"""What a plan has only in passing: it says nothing of how tables are read, nor in what order they are joined."""


def plan_shapes(
    connection: psycopg.Connection[Any], queries: Sequence[str], tables: Mapping[str, tuple[str, str]]
) -> list[str]:
    """Ask for the plan of each query, which does not run it.

    Args:
        connection: In a transaction, or each statement its own.
        queries: In PostgreSQL's dialect; tables go by their names in the metadata.
        tables: Schema and name of each, as this server has them.

    Returns:
        For each query how it joins and reads which tables, as in `Hash Join(Seq Scan orders, Index Scan customers)`;
        empty where the server can't plan it.
    """
    names = {place: name for name, place in tables.items()}
    shapes = []
    for query in queries:
        try:
            with connection.transaction():
                command = f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {_relocated(query, tables)}"
                ((plans,),) = connection.execute(command).fetchall()
        except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError):
            shapes.append("")  # a query of the user's own, for another dialect or other types
        else:
            shapes.append(_shape(plans[0]["Plan"], names))
    return shapes


def _relocated(query: str, tables: Mapping[str, tuple[str, str]]) -> str:
    """A query whose tables are where this server has them."""
    tree = sqlglot.parse_one(query, dialect="postgres")
    shadowed = {each.alias for each in tree.find_all(expressions.CTE)}
    for table in list(tree.find_all(expressions.Table)):
        name = f"{table.db}.{table.name}" if table.db else table.name
        if name in tables and name not in shadowed:
            schema, own = tables[name]
            placed = expressions.table_(own, db=schema, quoted=True, alias=table.alias or table.name)
            placed.args["alias"].this.set("quoted", True)
            table.replace(placed)
    return tree.sql(dialect="postgres")


def _shape(node: Mapping[str, Any], names: Mapping[tuple[str, str], str]) -> str:
    """A node and what is below it.

    >>> join = {"Node Type": "Hash Join", "Join Type": "Left", "Plans": [{"Node Type": "Hash", "Plans": [
    ...     {"Node Type": "Seq Scan", "Schema": "stage", "Relation Name": "t"}]}]}
    >>> _shape(join, {("stage", "t"): "orders"})
    'Left Hash Join(Seq Scan orders)'
    """
    below = [_shape(each, names) for each in node.get("Plans", [])]
    if node["Node Type"] in _PASSED_THROUGH and len(below) == 1:
        return below[0]
    kind = node.get("Join Type", "Inner")
    place = node.get("Schema", ""), node.get("Relation Name", "")
    # an index of the copy's may have another name; that one is used is what counts
    parts = ["" if kind == "Inner" else kind, node["Node Type"], names.get(place, "another table" if place[1] else "")]
    inside = ", ".join(each for each in below if each)
    return " ".join(part for part in parts if part) + (f"({inside})" if inside else "")
