"""Choose what times are counted from, by the rules that say what never comes before what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.generators.relational_trees.bases import Base, since
from synth_ops.generators.relational_trees.learning.codecs import fit_number
from synth_ops.generators.relational_trees.learning.state import Learning, read_columns
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.metadata import Column, Kind, Relation, Rule
from synth_ops.sql import is_time

if TYPE_CHECKING:
    import duckdb

_MOST_CHILDREN = 1.5
"""Of a parent, on average: with more, the rows below it are a sequence, and their first time is learned as it is."""
_OPEN_END = 0.01
"""The share of rows with the latest value from which on that value means "without an end"."""


def choose_base(
    connection: duckdb.DuckDBPyConnection,
    learning: Learning,
    column: Column,
    values: pa.ChunkedArray,
    threshold: int,
) -> pa.ChunkedArray | None:
    """Count a time from the nearest one that never comes after it, where there is one.

    Args:
        threshold: How many subjects must share what is kept.

    Returns:
        The distances to learn instead of the values; None where the values are learned as they are. The base is then
        in `learning.bases`.
    """
    table = learning.structure.table
    if not is_time(column.type) or learning.makers[column.name] is not Maker.LEARNED:
        return None
    if any(column.name in key for key in table.keys) or _has_open_end(values):
        return None
    nearest: tuple[float, Rule, pa.ChunkedArray] | None = None
    for rule in table.rules:
        if rule.column != column.name or rule.relation is not Relation.AT_LEAST:
            continue
        base = _base_values(connection, learning, rule)
        if base is None or base.type != values.type or pc.any(pc.and_(pc.is_null(base), pc.is_valid(values))).as_py():
            continue
        distances = since(values, base)
        middle = pc.approximate_median(distances).as_py() or 0.0
        if nearest is None or middle < nearest[0]:
            nearest = (middle, rule, distances)
    if nearest is None:
        return None
    own = fit_number(values, learning.subjects, threshold)
    if not len(own.low):
        return None
    learning.bases[column.name] = Base(
        column=nearest[1].inputs[0],
        through=nearest[1].through,
        lowest=int(own.low.min()),
        highest=int(own.high.max()),
        ends=values.null_count > 0,
    )
    return nearest[2]


def _base_values(connection: duckdb.DuckDBPyConnection, learning: Learning, rule: Rule) -> pa.ChunkedArray | None:
    table, name = learning.structure.table, rule.inputs[0]
    if not rule.through:
        usable = learning.makers[name] is Maker.LEARNED and table.column(name).kind is Kind.DATETIME
        return read_columns(connection, table.name, [name])[0] if usable else None
    key = next(key for key in table.foreign_keys if key.columns == rule.through)
    if key != learning.structure.primary and key not in learning.structure.references:
        return None
    base = read_columns(connection, key.parent, [name])[0]
    if learning.rows > _MOST_CHILDREN * len(base):
        return None
    rows = learning.parents[learning.number(key)]
    return base.take(pa.array(rows, mask=rows < 0))


def _has_open_end(values: pa.ChunkedArray) -> bool:
    known = len(values) - values.null_count
    last = pc.max(values)
    return bool(known) and pc.sum(pc.equal(values, last)).as_py() > max(_OPEN_END * known, 1)
