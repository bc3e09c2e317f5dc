"""Find the order of rows under their parents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.codec import fit_number, variable
from synth_ops.generators.relational_trees.learning.columns import threshold
from synth_ops.generators.relational_trees.learning.state import SOURCE, Learning, read_columns
from synth_ops.generators.relational_trees.names import COLUMN, column_name, reference_name
from synth_ops.generators.relational_trees.sequences import Order, find_order
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.metadata import Kind
from synth_ops.sql import quote

if TYPE_CHECKING:
    import duckdb


def find_rank(connection: duckdb.DuckDBPyConnection, learning: Learning, key: tuple[str, ...]) -> None:
    """Whether the one own column of a key numbers the rows of a parent: 1, 2, 3, ..."""
    own = [name for name in key if learning.makers[name] is not Maker.REFERENCE]
    if len(own) != 1 or len(key) < 2 or not pa.types.is_integer(learning.schema.field(own[0]).type):  # noqa: PLR2004
        return
    primary = learning.structure.primary
    if primary is None or not set(key) - set(own) <= set(primary.columns):
        return
    group = ", ".join(quote(name) for name in key if name != own[0])
    place = f"{quote(SOURCE)}.{quote(learning.structure.table.name)}"
    (consecutive, starts, lowest), *_ = connection.sql(
        f"SELECT avg((high - low + 1 = n AND n = distinct_n)::INT), avg((low IN (0, 1))::INT), min(low) FROM ("
        f"SELECT min({quote(own[0])}) low, max({quote(own[0])}) high, count(*) n,"
        f" count(DISTINCT {quote(own[0])}) distinct_n FROM {place} GROUP BY {group})"
    ).fetchall()
    if consecutive and min(consecutive, starts) >= 0.95:  # noqa: PLR2004
        learning.ranks[own[0]] = min(max(int(lowest), 0), 1)
        values = read_columns(connection, learning.structure.table.name, own)[0]
        codec = fit_number(values, learning.subjects, threshold(learning.structure.table.name, own[0]))
        learning.makers[own[0]], learning.codecs[own[0]] = Maker.LEARNED, codec
        learning.variables[column_name(own[0])] = variable(codec, codec.encode(values))


def order_rows(learning: Learning) -> Order | None:
    """The order of a table's rows under their parents; None where they are no sequence."""
    primary, timed = learning.structure.primary, _time_column(learning)
    if primary is None or timed is None:
        return None
    order = find_order(learning.parents[learning.number(primary)], learning.variables[column_name(timed)].codes)
    learning.ordered_by = timed if order else None
    return order


def _time_column(learning: Learning) -> str | None:
    """What rows under one parent are told apart by: their number, else the finest date or time."""
    if learning.ranks:
        return next(iter(learning.ranks))
    times = [column.name for column in learning.structure.learned if column.kind is Kind.DATETIME]
    times = [name for name in times if name in learning.codecs and name not in learning.bases]
    return max(times, key=lambda name: learning.codecs[name].size) if times else None


def row_variables(learning: Learning) -> dict[str, Variable]:
    """What a row of a sequence may know of the one before: its columns and the groups of what it refers to."""
    names = [reference_name(learning.number(key)) for key in learning.structure.references]
    names += [name for name in learning.variables if name.startswith(COLUMN)]
    return {name: learning.variables[name] for name in names}
