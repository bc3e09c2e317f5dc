"""Rows in order under their parents: numbered, and drawn position by position."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from synth_ops.generators.relational_trees.drawing.state import TableDrawing
from synth_ops.generators.relational_trees.drawing.values import cast, chunked
from synth_ops.generators.relational_trees.drawing.variables import decode_column, draw_target, rule_inputs
from synth_ops.generators.relational_trees.names import (
    BEFORE,
    COLUMN,
    REFERENCE,
    column_name,
    reference_name,
)
from synth_ops.generators.relational_trees.sequences import order_of, place_variables
from synth_ops.generators.relational_trees.unique import identify


def draw_in_order(drawing: TableDrawing) -> None:
    """Draw the rows of all parents position by position, each from the one before it."""
    made = drawing.made
    parents = made.parents[made.number(made.structure.primary)] if made.structure.primary else np.empty(0, np.int64)
    alone = int(parents.max(initial=0)) + 1 + np.arange(made.rows)
    order = order_of(np.where(parents >= 0, parents, alone), np.zeros(made.rows, np.int32))
    made.codes |= {name: each.codes for name, each in place_variables(order.position, order.siblings).items()}
    late = {reference_name(made.number(key)) for key in made.structure.deferred}
    known = {*late, *made.codes}  # what is filled later, or was taken over from the parent
    targets = [t for t in made.model.targets if t.name.startswith((COLUMN, REFERENCE)) and t.name not in known]
    looked_back = {
        name
        for target in made.model.targets
        for name in (*target.inputs, *rule_inputs(target))
        if name.startswith(BEFORE)
    }
    for name in (*(target.name for target in targets), *looked_back):
        made.codes[name] = np.zeros(made.rows, np.int32)
    by_position = np.argsort(order.position, kind="stable")
    ends = np.cumsum(np.bincount(order.position))
    for step, rows in enumerate(np.split(by_position, ends[:-1])):
        for name in looked_back if step else ():
            made.codes[name][rows] = made.codes[name.removeprefix(BEFORE)][order.before[rows]] + 1
        for target in targets:
            made.codes[target.name][rows] = draw_target(drawing, target, rows, f"draw {step}")
    for target in targets:
        if target.name.startswith(COLUMN):
            decode_column(drawing, target.name.removeprefix(COLUMN))


def number_within_parents(drawing: TableDrawing) -> None:
    """Fill the key columns that number the rows of a parent."""
    made = drawing.made
    for column, start in made.model.ranks.items():
        key = next(key for key in made.structure.table.keys if column in key and len(key) > 1)
        group, _ = identify([made.columns[name] for name in key if name != column])
        order = np.argsort(group, kind="stable")
        ordered = group[order]
        first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if made.rows else order
        sizes = np.diff(np.concatenate([first, [made.rows]]))
        ranks = np.empty(made.rows, np.int64)
        ranks[order] = np.arange(made.rows) - np.repeat(first, sizes) + start
        values = cast(pa.array(ranks), made.model.schema.field(column).type)
        made.columns[column] = values
        made.codes[column_name(column)] = made.model.codecs[column].encode(chunked(values))
