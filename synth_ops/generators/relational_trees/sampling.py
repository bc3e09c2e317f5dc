"""Sample a fitted model: shard by shard, tables in order, each written as soon as nothing about it is open."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from synth_ops.artifact_io import write_table
from synth_ops.artifacts import TableData
from synth_ops.errors import SampleError
from synth_ops.generators.relational_trees.drawing.checks import enforce_checks
from synth_ops.generators.relational_trees.drawing.deferred import refer_later
from synth_ops.generators.relational_trees.drawing.obey import add_up
from synth_ops.generators.relational_trees.drawing.state import Made, Sampling, TableDrawing
from synth_ops.generators.relational_trees.drawing.table import draw_table
from synth_ops.generators.relational_trees.guests import Guest
from synth_ops.generators.relational_trees.model import TableModel, lean
from synth_ops.generators.relational_trees.shards import ShardPlan, plan_shards
from synth_ops.generators.relational_trees.structure import TableStructure, structure
from synth_ops.metadata import Metadata
from synth_ops.ports import Progress, ProgressListener

_BATCH_ROWS = 131_072


def structures_of(models: Mapping[str, TableModel], metadata: Metadata) -> list[TableStructure]:
    """The tables in the order in which they are made."""
    rows = {name: model.rows for name, model in models.items()}
    schemas = {name: model.schema for name, model in models.items()}
    return structure(metadata, rows, schemas, {name: model.families for name, model in models.items()})


class Sampler:
    """Draws the shards of one copy; what they have in common is drawn once.

    Args:
        shard_cells: How large a shard may be.
        guests: Other models that make columns, by table.
    """

    def __init__(
        self,
        models: Mapping[str, TableModel],
        metadata: Metadata,
        *,
        seed: int,
        scale: float,
        shard_cells: int,
        guests: Mapping[str, Guest] = MappingProxyType({}),
    ) -> None:
        self._metadata = metadata
        self._structures = structures_of(models, metadata)
        self.plan: ShardPlan = plan_shards(self._structures, models, scale=scale, cells=shard_cells)
        drawn_from = {name: lean(model) for name, model in models.items()}
        self._sampling = Sampling(models=drawn_from, plan=self.plan, seed=seed, guests=guests)
        self._whole: dict[str, Made] | None = None

    def draw(self, shard: int, folder: Path, progress: ProgressListener) -> dict[str, TableData]:
        """Write a shard's part of every table below `folder`; the first shard writes the whole tables, too."""
        if self.plan.count == 1:
            return self._in_order(
                _ShardDrawing(self._sampling, self._metadata, {}, 0, folder).draw(self._structures, [], progress)
            )
        whole = [each for each in self._structures if each.table.name in self.plan.whole]
        parts = [each for each in self._structures if each.table.name not in self.plan.whole]
        written: dict[str, TableData] = {}
        if shard == 0 or self._whole is None:
            drawing = _ShardDrawing(self._sampling, self._metadata, {}, shard, folder if shard == 0 else None)
            written |= drawing.draw(whole, parts, progress)
            self._whole = drawing.made
        drawing = _ShardDrawing(self._sampling, self._metadata, self._whole, shard, folder)
        written |= drawing.draw(parts, [], progress)
        return self._in_order(written)

    def _in_order(self, written: Mapping[str, TableData]) -> dict[str, TableData]:
        return {name: written[name] for name in self._metadata.table_names if name in written}


class _ShardDrawing:
    """Draws some tables of a shard.

    Args:
        before: The tables made before.
        folder: Where the tables are written; None where another shard writes them.
    """

    def __init__(
        self, sampling: Sampling, metadata: Metadata, before: Mapping[str, Made], shard: int, folder: Path | None
    ) -> None:
        self.made = dict(before)
        self._sampling, self._metadata, self._shard, self._folder = sampling, metadata, shard, folder
        self._written: dict[str, TableData] = {}

    def draw(
        self, structures: Sequence[TableStructure], after: Sequence[TableStructure], progress: ProgressListener
    ) -> dict[str, TableData]:
        """Draw and write tables.

        Args:
            after: Tables that come later and may refer to these.
        """
        drawings: dict[str, TableDrawing] = {}
        coming = {each.table.name for each in structures}
        waiting: dict[str, TableDrawing] = {}
        for number, each in enumerate(structures):
            self._tell(each.table.name, progress)
            name = each.table.name
            self.made[name] = Made(structure=each, model=self._sampling.models[name], rows=0)
            drawings[name] = waiting[name] = TableDrawing(self.made[name], self.made, self._sampling, self._shard)
            draw_table(drawings[name])
            coming.discard(name)
            _add_up_above(name, drawings, coming)
            for drawing in list(waiting.values()):
                if not (drawing.made.structure.deferred or _awaits(drawing, drawings, coming)):
                    del waiting[drawing.name]
                    self._finish(
                        drawing, [*structures[number + 1 :], *(w.made.structure for w in waiting.values()), *after]
                    )
        for drawing in list(waiting.values()):
            _close_cycle(drawing)
            del waiting[drawing.name]
            self._finish(drawing, [*(w.made.structure for w in waiting.values()), *after])
        return self._written

    def _tell(self, table: str, progress: ProgressListener) -> None:
        tables = self._metadata.table_names
        done = len(tables) * self._shard + len(self.made)
        progress(Progress(step="sample", item=table, done=done, total=len(tables) * self._sampling.plan.count))

    def _finish(self, drawing: TableDrawing, coming: Sequence[TableStructure]) -> None:
        made = drawing.made
        if self._folder:
            self._written[drawing.name] = _write(made, self._folder, drawing.shard)
        _forget(made, self._sampling.models, self._metadata, {each.table.name for each in coming})


def _add_up_above(name: str, drawings: Mapping[str, TableDrawing], coming: Collection[str]) -> None:
    """Fill the sums over a table's rows, and the sums over these; not over rows that await sums themselves."""
    if _awaits(drawings[name], drawings, coming):
        return
    for above, drawing in drawings.items():
        if any(rule.child == name for rule in drawing.made.structure.table.rules):
            add_up(drawing, drawings[name].made)
            _add_up_above(above, drawings, coming)


def _awaits(drawing: TableDrawing, drawings: Mapping[str, TableDrawing], coming: Collection[str]) -> bool:
    """Whether a table has columns that are sums over rows still to come, or over such as await sums themselves."""
    below = {rule.child for rule in drawing.made.structure.table.rules if rule.child}
    return any(child in coming or (child in drawings and _awaits(drawings[child], drawings, coming)) for child in below)


def _close_cycle(drawing: TableDrawing) -> None:
    before = drawing.made.rows
    for key in drawing.made.structure.deferred:
        refer_later(drawing, key)
    enforce_checks(drawing)
    if drawing.made.rows != before:
        raise SampleError(
            f"the cycle of foreign keys through table {drawing.name!r} can't be closed",
            "make one of its columns nullable in the recipe's source, or exclude a table",
        )


def _write(made: Made, folder: Path, part: int) -> TableData:
    if part and not made.rows:
        return TableData(rows=0, files=())  # the first part says what the columns are
    table = pa.Table.from_arrays([made.columns[name] for name in made.model.schema.names], schema=made.model.schema)
    batches = table.to_batches(max_chunksize=_BATCH_ROWS)
    return write_table(folder, made.structure.table.name, made.model.schema, batches, part=part)


def _forget(made: Made, models: Mapping[str, TableModel], metadata: Metadata, coming: set[str]) -> None:
    """Keep of a finished table only what tables to come refer to."""
    name = made.structure.table.name
    keys = [key for child, key in metadata.children(name) if child.name in coming]
    needed = {column for key in keys for column in key.parent_columns}
    needed |= {
        column
        for child, key in metadata.children(name)
        if child.name in coming
        for rule in child.rules
        if rule.through == key.columns
        for column in rule.inputs
    }
    needed |= {
        column
        for child, _ in metadata.children(name)
        if child.name in coming
        for column in models[child.name].parent_times()
    }
    made.columns = {column: values for column, values in made.columns.items() if column in needed}
    made.parents = {}
    if not keys:
        made.codes = {}
