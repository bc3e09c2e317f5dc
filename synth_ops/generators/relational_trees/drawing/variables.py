"""Draw variables from their blocks, and turn their codes into values."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa

from synth_ops.generators.relational_trees.bases import after
from synth_ops.generators.relational_trees.codec import PseudonymCodec
from synth_ops.generators.relational_trees.drawing.state import TableDrawing
from synth_ops.generators.relational_trees.drawing.values import cast, decode, put
from synth_ops.generators.relational_trees.model import Target
from synth_ops.generators.relational_trees.names import COLUMN, column_name
from synth_ops.generators.relational_trees.references import Rows
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.generators.relational_trees.tree import Codes

ROUNDS = 6
"""How often rows that break a rule or a key are drawn again."""


def draw_target(drawing: TableDrawing, target: Target, rows: Rows | None = None, purpose: str = "draw") -> Codes:
    """Codes of a variable, for all rows or some: from its block, or as a rule has it."""
    made = drawing.made

    def given(name: str, of: Rows | None = rows) -> Codes:
        return made.codes[name] if of is None else made.codes[name][of]

    count = made.rows if rows is None else len(rows)
    generator = drawing.stream(purpose, target.name)
    codes = target.block.draw([given(name) for name in target.inputs], count, generator)
    if target.rule:
        exact = target.rule.apply([given(name) for name in target.rule.inputs])
        codes = np.where(exact >= 0, exact, codes)
    for _ in range(ROUNDS if target.guards else 0):
        wrong = np.zeros(count, dtype=bool)
        for name, guard in target.guards.items():
            implied = guard.apply([codes])
            wrong |= (implied >= 0) & (implied != given(name))
        again = np.flatnonzero(wrong)
        if not len(again):
            break
        inputs = [given(name)[again] for name in target.inputs]
        codes[again] = target.block.draw(inputs, len(again), generator)
    return codes


def draw_column(drawing: TableDrawing, target: Target) -> None:
    """Draw a variable that is not there yet, and the values of its column."""
    if target.name in drawing.made.codes:
        return
    drawing.made.codes[target.name] = draw_target(drawing, target)
    if target.name.startswith(COLUMN):
        decode_column(drawing, target.name.removeprefix(COLUMN))


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
        return after(distances, drawing.base_values(base).take(pa.array(rows)), base, step, generator)
    codec, arrow_type = drawing.made.model.codecs[column], drawing.made.model.schema.field(column).type
    if isinstance(codec, PseudonymCodec):
        pseudonyms = drawing.sampling.pseudonyms
        if (drawing.name, column) not in pseudonyms:
            provider = drawing.sampling.provider(drawing.made, column, unique=True)
            pseudonyms[drawing.name, column] = cast(provider.values(0, codec.common + codec.rare), arrow_type)
        return codec.decode(codes, generator, pseudonyms[drawing.name, column])
    return decode(drawing.made.model, column, codes, generator)


def redraw(drawing: TableDrawing, rows: Rows, columns: Sequence[str], attempt: int, kept: Collection[str] = ()) -> None:
    """Draw learned columns of some rows again, in order, and what follows from them by a rule.

    Args:
        kept: Columns that stay as they are, though they follow.
    """
    made = drawing.made
    changed: set[str] = set()
    keys = {*made.structure.own_key_columns(), *kept} - set(columns)
    for target in made.model.targets:
        column = target.name.removeprefix(COLUMN)
        base = made.model.bases.get(column)
        moved = base is not None and not base.through and column_name(base.column) in changed
        follows = moved or (target.rule is not None and bool(changed & set(target.rule.inputs)))
        if column == target.name or not (column in columns or follows) or column in keys:
            continue
        if made.model.makers[column] is not Maker.LEARNED or target.name not in made.codes:
            continue
        changed.add(target.name)
        if column in columns or not moved:
            made.codes[target.name][rows] = draw_target(drawing, target, rows, f"again {attempt}")
        codes = made.codes[target.name][rows]
        values = _values(drawing, column, codes, drawing.stream("value again", attempt, column), rows)
        made.columns[column] = put(made.columns[column], rows, values)


def rule_inputs(target: Target) -> tuple[str, ...]:
    """What a variable's rule needs."""
    return target.rule.inputs if target.rule else ()
