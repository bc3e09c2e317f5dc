"""Make every row meet the table's CHECK constraints, by drawing again, borrowing, or leaving the row out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synth_ops.errors import SampleError
from synth_ops.generators.relational_trees.drawing.references import pick_again
from synth_ops.generators.relational_trees.drawing.state import Made, TableDrawing
from synth_ops.generators.relational_trees.drawing.values import put
from synth_ops.generators.relational_trees.drawing.variables import redraw
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.metadata import Check
from synth_ops.sql import connect, literal

if TYPE_CHECKING:
    import duckdb

_ROUNDS = 5
_MOST_LITERALS = 20


def enforce_checks(drawing: TableDrawing) -> bool:
    """Repair the rows that break a CHECK; leave out those that nothing repairs.

    Returns:
        Whether rows were left out.
    """
    made = drawing.made
    checks = _checks_of(made)
    if not checks:
        return False
    with connect() as connection:
        _repair(connection, drawing, checks)
        broken = _any_violation(connection, made, checks)
    if broken.any():
        made.keep(np.flatnonzero(~broken))
    return bool(broken.any())


def breaking_rows(made: Made) -> npt.NDArray[np.bool_]:
    """The rows that break a CHECK whose columns are all there."""
    checks = _checks_of(made)
    if not checks:
        return np.zeros(made.rows, dtype=bool)
    with connect() as connection:
        return _any_violation(connection, made, checks)


def _checks_of(made: Made) -> list[Check]:
    return [check for check in made.structure.table.checks if set(check.columns) <= set(made.columns)]


def _repair(connection: duckdb.DuckDBPyConnection, drawing: TableDrawing, checks: Sequence[Check]) -> None:
    """All checks at once, so that mending one does not break another."""
    made = drawing.made
    keys = {name for key in made.structure.table.keys for name in key}
    columns = dict.fromkeys(name for check in checks for name in check.columns)
    free = [name for name in columns if made.model.makers[name] is not Maker.REFERENCE and name not in keys]
    movable = [key for key in made.structure.references if made.structure.filled_by(key) & (columns.keys() - keys)]
    broken = _any_violation(connection, made, checks)
    for attempt in range(_ROUNDS):
        if not broken.any() or not (free or movable):
            return
        for key in movable:
            pick_again(drawing, key, np.flatnonzero(broken), 100 + attempt)
            broken = _any_violation(connection, made, checks)
        redraw(drawing, np.flatnonzero(broken), free, 100 + attempt)
        broken = _any_violation(connection, made, checks)
    good = np.flatnonzero(~broken)
    if broken.any() and len(good):
        rows = np.flatnonzero(broken)
        donors = pa.array(drawing.stream("donors").choice(good, len(rows)))
        for name in free:
            made.columns[name] = put(made.columns[name], rows, made.columns[name].take(donors))
    for check in checks:
        for _ in _remedies(connection, made, check, [name for name in check.columns if name in free]):
            if not _violations(connection, made, check).any():
                break


def _any_violation(connection: duckdb.DuckDBPyConnection, made: Made, checks: Sequence[Check]) -> npt.NDArray[np.bool_]:
    broken = np.zeros(made.rows, dtype=bool)
    for check in checks:
        broken |= _violations(connection, made, check)
    return broken


def _remedies(connection: duckdb.DuckDBPyConnection, made: Made, check: Check, free: Sequence[str]) -> Iterator[None]:
    """Change the breaking rows, one remedy after the other: the check's own constants, then NULL."""
    yield
    for name in free:
        for constant in _constants(connection, check, made.model.schema.field(name).type):
            rows = np.flatnonzero(_violations(connection, made, check))
            before = made.columns[name]
            made.columns[name] = put(before, rows, pa.repeat(constant, len(rows)))
            if _violations(connection, made, check)[rows].all():
                made.columns[name] = before
            yield
    for name in free:
        if name not in made.structure.table.required:
            rows = np.flatnonzero(_violations(connection, made, check))
            column = made.columns[name]
            made.columns[name] = put(column, rows, pa.nulls(len(rows), column.type))
            yield


def _violations(connection: duckdb.DuckDBPyConnection, made: Made, check: Check) -> npt.NDArray[np.bool_]:
    import duckdb

    if not made.rows:
        return np.zeros(0, dtype=bool)
    table = pa.table({name: made.columns[name] for name in check.columns or made.columns})
    connection.register("checked", table)
    try:
        result = connection.sql(f"SELECT NOT coalesce(({check.expression}), true) FROM checked").to_arrow_table()
    except duckdb.Error:
        raise SampleError(
            f"a CHECK of table {made.structure.table.name!r} can't be evaluated on the columns "
            f"{', '.join(check.columns)}",
            "rewrite it in the recipe's `checks`",
        ) from None
    violations: npt.NDArray[np.bool_] = result.column(0).to_numpy(zero_copy_only=False).astype(bool)
    return violations


def _constants(connection: duckdb.DuckDBPyConnection, check: Check, arrow_type: pa.DataType) -> list[pa.Scalar]:
    """The constants in a CHECK, and their neighbours, as values of a column's type: they are schema, not data."""
    import sqlglot
    from sqlglot import expressions

    tree = sqlglot.parse_one(check.expression, dialect="duckdb")
    texts = dict.fromkeys(node.name for node in tree.find_all(expressions.Literal))
    connection.register("typed", pa.table({"v": pa.nulls(0, arrow_type)}))
    kind = connection.sql("DESCRIBE typed").fetchall()[0][1]
    values = [
        f"TRY(CAST({value} AS {kind}))"
        for text in map(literal, list(texts)[:_MOST_LITERALS])
        for value in (text, f"(CAST({text} AS BIGINT) + 1)", f"(CAST({text} AS BIGINT) - 1)")
    ]
    found = connection.sql(f"SELECT v FROM (SELECT unnest([{', '.join(values)}]) AS v) WHERE v IS NOT NULL")
    return list(found.to_arrow_table().column(0).cast(arrow_type)) if values else []
