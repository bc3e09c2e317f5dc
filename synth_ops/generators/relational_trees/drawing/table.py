"""Draw one table: rows under their parents, references, variables in order, keys made unique on the way."""

from __future__ import annotations

from synth_ops.generators.relational_trees.drawing.checks import enforce_checks
from synth_ops.generators.relational_trees.drawing.guests import host
from synth_ops.generators.relational_trees.drawing.keys import unique_all
from synth_ops.generators.relational_trees.drawing.obey import carry, obey
from synth_ops.generators.relational_trees.drawing.provided import provide
from synth_ops.generators.relational_trees.drawing.rare import fit_in
from synth_ops.generators.relational_trees.drawing.references import refer
from synth_ops.generators.relational_trees.drawing.rows import lay_rows
from synth_ops.generators.relational_trees.drawing.self_references import refer_to_itself
from synth_ops.generators.relational_trees.drawing.sequences import draw_in_order, number_within_parents
from synth_ops.generators.relational_trees.drawing.state import TableDrawing
from synth_ops.generators.relational_trees.drawing.variables import draw_column
from synth_ops.generators.relational_trees.names import COLUMN, column_name


def draw_table(drawing: TableDrawing) -> None:
    """Fill all but deferred references."""
    lay_rows(drawing)
    if drawing.made.structure.primary:
        carry(drawing, drawing.made.structure.primary)
    number_within_parents(drawing)
    if drawing.made.model.sequence:
        draw_in_order(drawing, drawing.made.model.sequence)
    own_keys = {column_name(name) for name in drawing.made.structure.own_key_columns()}
    for key in drawing.made.structure.references:
        refer(drawing, key)
        carry(drawing, key)
    for target in drawing.made.model.targets:
        if target.name in own_keys:
            draw_column(drawing, target)
    unique_all(drawing)
    for target in drawing.made.model.targets:
        if target.name.startswith(COLUMN):
            draw_column(drawing, target)
    fit_in(drawing)
    host(drawing)
    for target in drawing.made.model.targets:
        draw_column(drawing, target)  # whom rows may be referred to by, as all their columns say
    provide(drawing)
    _settle(drawing)


def _settle(drawing: TableDrawing) -> None:
    """Checks, self-references and keys, until none of them leaves out a row that another one counted on."""
    made = drawing.made
    obey(drawing)
    _enforce(drawing)
    while made.structure.self_references:
        for key in made.structure.self_references:
            refer_to_itself(drawing, key)
        before = made.rows
        _enforce(drawing)
        if made.rows == before:
            return


def _enforce(drawing: TableDrawing) -> None:
    enforce_checks(drawing)
    unique_all(drawing)
    enforce_checks(drawing)  # a key may have moved out of its CHECK; this does not move it again
    obey(drawing)
