"""Sample a fitted model: tables in order, each written as soon as nothing about it is open."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from synth_ops.artifact_io import write_table
from synth_ops.artifacts import TableData
from synth_ops.errors import SampleError
from synth_ops.generators.relational_trees.drawing.checks import enforce_checks
from synth_ops.generators.relational_trees.drawing.deferred import refer_later
from synth_ops.generators.relational_trees.drawing.state import Made, TableDrawing
from synth_ops.generators.relational_trees.drawing.table import draw_table
from synth_ops.generators.relational_trees.model import TableModel
from synth_ops.generators.relational_trees.structure import TableStructure, structure
from synth_ops.metadata import Metadata
from synth_ops.ports import Progress, ProgressListener

_BATCH_ROWS = 131_072


def sample_tables(
    models: Mapping[str, TableModel],
    metadata: Metadata,
    folder: Path,
    *,
    seed: int,
    scale: float,
    progress: ProgressListener,
) -> dict[str, TableData]:
    """Draw and write every table."""
    rows = {name: model.rows for name, model in models.items()}
    schemas = {name: model.schema for name, model in models.items()}
    structures = structure(metadata, rows, schemas)
    made: dict[str, Made] = {}
    written: dict[str, TableData] = {}
    waiting: list[TableDrawing] = []
    for number, each in enumerate(structures):
        name = each.table.name
        progress(Progress(step="sample", item=name, done=number, total=len(structures)))
        made[name] = Made(structure=each, model=models[name], rows=0)
        drawing = TableDrawing(made[name], made, models=models, seed=seed, scale=scale)
        draw_table(drawing)
        if each.deferred:
            waiting.append(drawing)
        else:
            written[name] = _write(made[name], folder)
            _forget(made[name], metadata, structures[number + 1 :], waiting)
    for drawing in waiting:
        before = drawing.made.rows
        for key in drawing.made.structure.deferred:
            refer_later(drawing, key)
        enforce_checks(drawing)
        name = drawing.made.structure.table.name
        if drawing.made.rows != before:
            raise SampleError(
                f"the cycle of foreign keys through table {name!r} can't be closed",
                "make one of its columns nullable in the recipe's source, or exclude a table",
            )
        written[name] = _write(drawing.made, folder)
    return {name: written[name] for name in metadata.table_names}


def _write(made: Made, folder: Path) -> TableData:
    table = pa.Table.from_arrays([made.columns[name] for name in made.model.schema.names], schema=made.model.schema)
    return write_table(
        folder, made.structure.table.name, made.model.schema, table.to_batches(max_chunksize=_BATCH_ROWS)
    )


def _forget(made: Made, metadata: Metadata, coming: list[TableStructure], waiting: list[TableDrawing]) -> None:
    """Keep of a finished table only what tables to come refer to."""
    name = made.structure.table.name
    later = {each.table.name for each in coming} | {each.made.structure.table.name for each in waiting}
    keys = [key for child, key in metadata.children(name) if child.name in later]
    needed = {column for key in keys for column in key.parent_columns}
    made.columns = {column: values for column, values in made.columns.items() if column in needed}
    made.parents = {}
    if not keys:
        made.codes = {}
