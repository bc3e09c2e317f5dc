"""Draw variables from their blocks, and turn their codes into values."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa

from synth_ops.generators.relational_trees.bases import after
from synth_ops.generators.relational_trees.codec import PseudonymCodec
from synth_ops.generators.relational_trees.differences import Origin
from synth_ops.generators.relational_trees.drawing.counted import counted_values, differences_of, draw_counted
from synth_ops.generators.relational_trees.drawing.state import TableDrawing
from synth_ops.generators.relational_trees.drawing.targets import draw_target, rule_inputs
from synth_ops.generators.relational_trees.drawing.values import cast, decode, put
from synth_ops.generators.relational_trees.model import Target
from synth_ops.generators.relational_trees.names import ADVANCE, COLUMN, DIFFERENCE, SAME, column_name
from synth_ops.generators.relational_trees.references import Rows
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.generators.relational_trees.tree import Codes


def draw_column(drawing: TableDrawing, target: Target) -> None:
    """Draw a variable that is not there yet, and the values of its column."""
    made, column = drawing.made, target.name.removeprefix(COLUMN)
    if target.name in made.codes or target.name.startswith((DIFFERENCE, ADVANCE, SAME)):
        return
    if differences_of(drawing, column):
        draw_counted(drawing, column, np.arange(made.rows), "draw")
        made.columns[column] = counted_values(drawing, column, np.arange(made.rows))
        return
    made.codes[target.name] = draw_target(drawing, target)
    if column != target.name:
        decode_column(drawing, column)


def decode_column(drawing: TableDrawing, column: str) -> None:
    """Fill a learned column from its codes."""
    made = drawing.made
    if made.model.makers[column] is Maker.LEARNED:
        codes = made.codes[column_name(column)]
        made.columns[column] = _values(drawing, column, codes, drawing.stream("value", column), np.arange(made.rows))


def _values(drawing: TableDrawing, column: str, codes: Codes, generator: np.random.Generator, rows: Rows) -> pa.Array:
    base = drawing.made.model.bases.get(column)
    if base:
        distances = decode(drawing.made.model, column, codes, generator, pa.int64())
        step = getattr(drawing.made.model.codecs[column], "step", 1)
        start = drawing.base_values(base).take(pa.array(rows))
        return after(distances, start, base, step, generator)
    codec, arrow_type = drawing.made.model.codecs[column], drawing.made.model.schema.field(column).type
    if isinstance(codec, PseudonymCodec):
        pseudonyms = drawing.sampling.pseudonyms
        if (drawing.name, column) not in pseudonyms:
            provider = drawing.sampling.provider(drawing.made, column, unique=True)
            pseudonyms[drawing.name, column] = cast(provider.values(0, codec.common + codec.rare), arrow_type)
        return codec.decode(codes, generator, pseudonyms[drawing.name, column])
    return decode(drawing.made.model, column, codes, generator)


def redraw(drawing: TableDrawing, rows: Rows, columns: Sequence[str], attempt: int, kept: Collection[str] = ()) -> None:
    """Draw learned columns of some rows again, in order, and what follows from them by a rule or is counted from them.

    What is counted from the row before stays: the rows after it count on it.

    Args:
        kept: Columns that stay as they are, though they follow.
    """
    made = drawing.made
    changed: set[str] = set()
    fixed = {*made.structure.own_key_columns(), *kept} - set(columns)
    fixed |= {each.column for each in made.model.differences if each.base is Origin.BEFORE}
    for target in made.model.targets:
        column = target.name.removeprefix(COLUMN)
        base = made.model.bases.get(column)
        moved = base is not None and not base.through and column_name(base.column) in changed
        depends = set(rule_inputs(target)) | {column_name(each.base_column) for each in differences_of(drawing, column)}
        if column == target.name or column in fixed or not (column in columns or moved or changed & depends):
            continue
        if made.model.makers[column] is not Maker.LEARNED or target.name not in made.codes:
            continue
        changed.add(target.name)
        if differences_of(drawing, column):
            draw_counted(drawing, column, rows, f"again {attempt}")
            values = counted_values(drawing, column, rows)
        else:
            if column in columns or not moved:
                made.codes[target.name][rows] = draw_target(drawing, target, rows, f"again {attempt}")
            codes = made.codes[target.name][rows]
            values = _values(drawing, column, codes, drawing.stream("value again", attempt, column), rows)
        made.columns[column] = put(made.columns[column], rows, values)
