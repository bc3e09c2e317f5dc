"""Fill the columns that providers make, beside the public keys of reference data."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.generators.relational_trees.drawing.state import TableDrawing
from synth_ops.generators.relational_trees.drawing.values import cast, put
from synth_ops.generators.relational_trees.names import column_name
from synth_ops.generators.relational_trees.structure import Maker


def provide(drawing: TableDrawing) -> None:
    """Fill the provided columns, NULL where their codes say so."""
    made = drawing.made
    for column in made.structure.table.columns:
        if made.model.makers[column.name] is not Maker.PROVIDED or column.name in made.model.ranks:
            continue
        arrow_type = made.model.schema.field(column.name).type
        values = drawing.sampling.provider(made, column.name).values(drawing.part.start, made.rows)
        values = _with_public_keys(drawing, column.name, cast(values, arrow_type))
        codes = made.codes.get(column_name(column.name))
        if codes is not None and column.name not in made.structure.table.required:
            values = put(values, np.flatnonzero(codes == 0), pa.nulls(int((codes == 0).sum()), arrow_type))
        made.columns[column.name] = values


def _with_public_keys(drawing: TableDrawing, column: str, values: pa.Array) -> pa.Array:
    made = drawing.made
    public = {row: value for row, value in made.model.public_keys.get(column, {}).items() if row < made.rows}
    if not public:
        return values
    kept = pa.array(list(public.values()), values.type)
    result = put(values, np.array(list(public), np.int64), kept)
    others = np.setdiff1d(np.arange(made.rows), np.array(list(public)))
    provider, start = drawing.sampling.provider(made, column), len(drawing.part)
    while len(others):
        taken = pc.is_in(result.take(pa.array(others)), value_set=kept).to_numpy(zero_copy_only=False)
        others = others[taken]
        if len(others):
            result = put(result, others, cast(provider.values(start, len(others)), values.type))
            start += len(others)
    return result
