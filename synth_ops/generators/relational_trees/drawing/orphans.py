"""Key values that no parent has, for references that the source breaks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.generators.relational_trees.codec import NumberCodec
from synth_ops.generators.relational_trees.drawing.state import Made, TableDrawing
from synth_ops.generators.relational_trees.drawing.values import cast, chunked
from synth_ops.generators.relational_trees.references import BROKEN, match_rows
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.metadata import ForeignKey

_BROKEN_TRIES = 50


def broken_values(drawing: TableDrawing, key: ForeignKey, number: int, count: int) -> dict[str, pa.Array]:
    """Key values that no parent has: real ones of parents where another foreign key needs them, else made up."""
    made, parent = drawing.made, drawing.parent(key)
    generator = drawing.stream("broken", number)
    elsewhere = {name for other in made.structure.table.foreign_keys if other != key for name in other.columns}
    free = [name for name in key.columns if name not in drawing.fixed]
    tries = min(max(_BROKEN_TRIES * count, 1_000), 200_000)
    tried = {}
    for name, parent_name in zip(key.columns, key.parent_columns, strict=True):
        if name in elsewhere and len(key.columns) > 1 and parent.rows:
            tried[name] = parent.columns[parent_name].take(pa.array(generator.integers(0, parent.rows, tries)))
        else:
            tried[name] = _made_up(drawing, parent, parent_name, number, tries, generator)
    unmatched = match_rows(
        [chunked(tried[name]) for name in key.columns],
        [chunked(parent.columns[parent_name]) for parent_name in key.parent_columns],
    )
    usable = np.flatnonzero(unmatched == BROKEN)
    usable = usable if len(usable) else np.arange(tries)
    chosen = pa.array(usable[generator.integers(0, len(usable), count)])
    return {name: cast(tried[name].take(chosen), made.model.schema.field(name).type) for name in free}


def _made_up(
    drawing: TableDrawing, parent: Made, column: str, number: int, count: int, generator: np.random.Generator
) -> pa.Array:
    """Values that look like a parent's key, as many different ones as the source's broken references have."""
    codec, arrow_type = parent.model.codecs.get(column), parent.model.schema.field(column).type
    if isinstance(codec, NumberCodec) and len(codec.low):
        codes = generator.integers(1, len(codec.low) + 1, count).astype(np.int32)
        return codec.decode(codes, generator, arrow_type)
    if parent.model.makers[column] is Maker.LEARNED or column not in parent.model.schema.names:
        return pa.nulls(count, arrow_type)
    existing = parent.columns[column]
    if parent.model.makers[column] is Maker.PROVIDED:
        distinct = max(drawing.made.model.references[number].broken_values, 1)
        beyond = drawing.plan.rows[parent.structure.table.name]
        values = drawing.sampling.provider(parent, column).values(beyond, 2 * distinct + 200)
        values = cast(values, arrow_type)
        fresh = values.filter(pc.invert(pc.is_in(values, value_set=existing)))[:distinct]
        existing = fresh if len(fresh) else existing
    return existing.take(pa.array(generator.integers(0, len(existing), count)))
