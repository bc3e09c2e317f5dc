"""Fill foreign keys that wait for their parents, where tables refer to each other in a circle."""

from __future__ import annotations

import numpy as np

from synth_ops.generators.relational_trees.drawing.keys import repeating
from synth_ops.generators.relational_trees.drawing.references import (
    fill_reference,
    pick,
    settle_without_parent,
    spread_parents,
)
from synth_ops.generators.relational_trees.drawing.state import TableDrawing
from synth_ops.generators.relational_trees.names import reference_name
from synth_ops.metadata import ForeignKey


def refer_later(drawing: TableDrawing, key: ForeignKey) -> None:
    """Fill a foreign key whose parent was made after this table."""
    number = drawing.made.number(key)
    codes = drawing.made.codes[reference_name(number)]
    drawing.fixed = set(drawing.made.columns)
    drawing.made.parents[number] = pick(drawing, key, number, codes, np.arange(drawing.made.rows), "pick")
    settle_without_parent(drawing, key, number)
    fill_reference(drawing, key)
    for unique in drawing.made.structure.table.keys:
        ours = drawing.made.structure.filled_by(key) & set(unique)
        if ours and set(unique) <= set(drawing.made.columns) and repeating(drawing, unique).any():
            spread_parents(drawing, unique, key)
