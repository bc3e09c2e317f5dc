"""Draw times as distances from what is there already."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from synth_ops.generators.relational_trees.codec import NumberCodec
from synth_ops.generators.relational_trees.differences import Difference, Flags, Origin, Units, time_units
from synth_ops.generators.relational_trees.drawing.state import TableDrawing
from synth_ops.generators.relational_trees.drawing.targets import ROUNDS, draw_target
from synth_ops.generators.relational_trees.drawing.values import chunked
from synth_ops.generators.relational_trees.names import FOLLOWING, column_name
from synth_ops.generators.relational_trees.references import Rows
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.metadata import Relation


def draw_counted(drawing: TableDrawing, column: str, rows: Rows, purpose: str) -> None:
    """Draw a column for some rows, each from the first base that it has, else from the column's own block.

    Fills the codes of the column and of its distances, and its units.
    """
    made, codec = drawing.made, drawing.made.model.codecs[column]
    if not isinstance(codec, NumberCodec):
        raise TypeError(f"column {column!r} is not counted")
    generator = drawing.stream(purpose, "distance", column)
    for name in (column_name(column), *(each.name for each in differences_of(drawing, column))):
        made.codes.setdefault(name, np.zeros(made.rows, np.int32))
    made.units.setdefault(column, np.zeros(made.rows, np.int64))
    touching = _touching_columns(drawing)
    waiting = rows
    for difference in differences_of(drawing, column):
        bases, based = _bases(drawing, difference, waiting)
        chosen, bases, waiting = waiting[based], bases[based], waiting[~based]
        if not len(chosen):
            continue
        codes = _draw_distances(drawing, difference, chosen, purpose)
        made.codes[difference.name][chosen] = codes
        units = difference.decode(codes, bases, generator)
        low, high = difference.range_of(codec)
        apart, latest = difference.is_constant(codes), np.full(len(units), high)
        if _is_ruled(drawing, difference):  # what would come before its bound is the bound
            latest = np.maximum(latest, np.minimum(units, bases))
        if column in touching:  # a period that ended before it began would tear it from the next one
            latest = np.maximum(latest - _following(drawing, chosen) * codec.step, np.minimum(units, bases))
        units = np.where(apart, units, np.maximum(np.minimum(units, latest), low))
        made.units[column][chosen] = units
        values = codec.from_units(units, (codes > 0).astype(np.int32), made.model.schema.field(column).type)
        made.codes[column_name(column)][chosen] = codec.encode(chunked(values))
    if len(waiting):
        codes = draw_target(drawing, drawing.targets[column_name(column)], waiting, purpose)
        made.codes[column_name(column)][waiting] = codes
        made.units[column][waiting] = codec.units(codes, generator)


def _is_ruled(drawing: TableDrawing, difference: Difference) -> bool:
    """Whether every row of the source has the column no earlier than its base."""
    made, base = drawing.made, difference.base
    through = made.structure.primary.columns if base is Origin.PARENT and made.structure.primary else ()
    return base is not Origin.BEFORE and any(
        rule.relation is Relation.AT_LEAST
        and (rule.column, rule.inputs, rule.through) == (difference.column, (difference.base_column,), through)
        for rule in made.structure.table.rules
    )


def _following(drawing: TableDrawing, rows: Rows) -> Units:
    """How many rows come after each under its parent: periods that touch leave them room."""
    order = drawing.made.order
    return np.zeros(len(rows), np.int64) if order is None else order.siblings[rows] - 1 - order.position[rows]


def _draw_distances(drawing: TableDrawing, difference: Difference, rows: Rows, purpose: str) -> Codes:
    """Codes of a difference; drawn again where a row that others follow would have no end."""
    target = drawing.targets[difference.name]
    codes = draw_target(drawing, target, rows, purpose)
    if not difference.closing or FOLLOWING not in drawing.made.codes:
        return codes
    followed = drawing.made.codes[FOLLOWING][rows] > 0
    for attempt in range(ROUNDS):
        again = np.flatnonzero(difference.is_constant(codes) & followed)
        if not len(again):
            break
        codes[again] = draw_target(drawing, target, rows[again], f"{purpose} again {attempt}")
    return codes


def counted_values(drawing: TableDrawing, column: str, rows: Rows) -> pa.Array:
    """The values of a column of which codes and units are there."""
    made, codec = drawing.made, drawing.made.model.codecs[column]
    if not isinstance(codec, NumberCodec):
        raise TypeError(f"column {column!r} is not counted")
    codes = made.codes[column_name(column)][rows]
    return codec.from_units(made.units[column][rows], codes, made.model.schema.field(column).type)


def _touching_columns(drawing: TableDrawing) -> set[str]:
    """Starts and ends of periods that touch: cutting one off would tear it from the next."""
    pairs = [each for each in drawing.made.model.differences if each.base is Origin.BEFORE]
    return {name for each in pairs if each.column != each.base_column for name in (each.column, each.base_column)}


def differences_of(drawing: TableDrawing, column: str) -> list[Difference]:
    """What a column is counted from, the first choice first."""
    return [each for each in drawing.made.model.differences if each.column == column]


def exact_columns(drawing: TableDrawing) -> set[str]:
    """The columns whose units are needed while rows are drawn: those that are counted, and their bases in the table."""
    found = {each.column for each in drawing.made.model.differences}
    return found | {each.base_column for each in drawing.made.model.differences if each.base is not Origin.PARENT}


def parent_times(drawing: TableDrawing, column: str, wanted: str, rows: Rows) -> tuple[Units, Flags]:
    """A time of the primary parent for some rows, in the units of one of the table's columns."""
    made = drawing.made
    key = made.structure.primary
    if key is None:
        return np.zeros(len(rows), np.int64), np.zeros(len(rows), bool)
    parents = made.parents[made.number(key)][rows]
    values = drawing.parent(key).columns[column]
    units, known = time_units(chunked(values), made.model.schema.field(wanted).type)
    if not len(units):
        return np.zeros(len(rows), np.int64), np.zeros(len(rows), bool)
    place = np.maximum(parents, 0)
    return units[place], known[place] & (parents >= 0)


def _bases(drawing: TableDrawing, difference: Difference, rows: Rows) -> tuple[Units, Flags]:
    made, base = drawing.made, difference.base_column
    if difference.base is Origin.PARENT:
        units, known = parent_times(drawing, base, difference.column, rows)
    elif difference.base is Origin.ROW:
        units, known = _own_times(drawing, base, rows)
    else:
        before = made.order.before[rows] if made.order else np.full(len(rows), -1)
        units, known = _own_times(drawing, base, np.maximum(before, 0))
        known &= before >= 0
    return units, known & ~np.isin(units, difference.base_constants)


def _own_times(drawing: TableDrawing, column: str, rows: Rows) -> tuple[Units, Flags]:
    made, codec = drawing.made, drawing.made.model.codecs[column]
    if column in made.columns:
        return time_units(chunked(made.columns[column].take(rows)), made.model.schema.field(column).type)
    codes = made.codes[column_name(column)][rows]
    ranges = len(codec.low) if isinstance(codec, NumberCodec) else 0
    return made.units[column][rows], (codes > 0) & (codes <= ranges)
