"""What is known of a table while it is being drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synth_ops.generators.providers import provider_for
from synth_ops.generators.relational_trees.bases import Base
from synth_ops.generators.relational_trees.differences import Units
from synth_ops.generators.relational_trees.guests import Guest
from synth_ops.generators.relational_trees.model import TableModel
from synth_ops.generators.relational_trees.references import Rows
from synth_ops.generators.relational_trees.sequences import Order
from synth_ops.generators.relational_trees.shards import ShardPlan
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.generators.relational_trees.structure import TableStructure, as_provided
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.metadata import ForeignKey


@dataclass(slots=True, kw_only=True)
class Made:
    """One table while it is being made, and afterwards as a parent.

    Attributes:
        codes: Of every variable drawn.
        columns: Finished values.
        parents: Of each foreign key: the parent's row, or NO_PARENT or BROKEN.
        units: Whole numbers that stand for the values of columns that others are counted from.
        order: How rows follow each other, as long as none is left out.
    """

    structure: TableStructure
    model: TableModel
    rows: int
    codes: dict[str, Codes] = field(default_factory=dict)
    columns: dict[str, pa.Array] = field(default_factory=dict)
    parents: dict[int, Rows] = field(default_factory=dict)
    units: dict[str, Units] = field(default_factory=dict)
    order: Order | None = None

    def number(self, key: ForeignKey) -> int:
        """The foreign key's position in the metadata."""
        return self.structure.table.foreign_keys.index(key)

    def keep(self, rows: Rows) -> None:
        """Leave out all rows but these."""
        self.codes = {name: codes[rows] for name, codes in self.codes.items()}
        taken = pa.array(rows)
        self.columns = {name: column.take(taken) for name, column in self.columns.items()}
        self.parents = {number: parents[rows] for number, parents in self.parents.items()}
        self.units = {name: units[rows] for name, units in self.units.items()}
        self.order = None
        self.rows = len(rows)

    def within(self, rows: slice) -> Made:
        """Some neighbouring rows, as a parent of their own."""
        count = rows.stop - rows.start
        if count == self.rows:
            return self
        codes = {name: codes[rows] for name, codes in self.codes.items()}
        columns = {name: column.slice(rows.start, count) for name, column in self.columns.items()}
        return Made(structure=self.structure, model=self.model, rows=count, codes=codes, columns=columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What all tables and shards of a copy have in common.

    Attributes:
        plan: Which shard draws which rows.
        providers: Those made so far: they are the same for every shard.
        pseudonyms: Made-up ids that repeat, by table and column.
        guests: Other models that make columns, by table.
    """

    models: Mapping[str, TableModel]
    plan: ShardPlan
    seed: int
    guests: Mapping[str, Guest] = field(default_factory=dict)
    providers: dict[tuple[str, str, bool], Any] = field(default_factory=dict)
    pseudonyms: dict[tuple[str, str], pa.Array] = field(default_factory=dict)

    def provider(self, made: Made, column: str, *, unique: bool = False) -> Any:
        """Who makes a provided column's values: the same rows always get the same ones.

        Args:
            unique: Whether they must differ even though the column is no key.
        """
        table = made.structure.table
        unique = unique or any(column in key for key in table.keys)
        if (table.name, column, unique) not in self.providers:
            self.providers[table.name, column, unique] = provider_for(
                as_provided(table.column(column)),
                made.model.shapes.get(column),
                seed=self.seed,
                table=table.name,
                unique=unique,
                rows=self.plan.rows[table.name],
            )
        return self.providers[table.name, column, unique]


class TableDrawing:
    """Draws one table, or a shard's part of it.

    Args:
        made: What is to be filled; its rows are not known yet.
        others: The tables made before, by name.
        sampling: Of the copy.
        shard: Which part.
    """

    def __init__(self, made: Made, others: Mapping[str, Made], sampling: Sampling, shard: int) -> None:
        self.made, self.sampling, self.models, self.plan = made, sampling, sampling.models, sampling.plan
        self.name = made.structure.table.name
        self.shard = 0 if self.name in self.plan.whole else shard
        self.part = self.plan.part(self.name, self.shard)
        self.targets = {target.name: target for target in made.model.targets}
        self.fixed: set[str] = set()
        self._others = others

    def parent(self, key: ForeignKey) -> Made:
        """The rows that a foreign key of this part may refer to."""
        parent = self._others[key.parent]
        if key != self.made.structure.primary or key.parent not in self.plan.whole:
            return parent
        return parent.within(self.plan.of_parent(self.name, parent.rows, self.shard))

    def stream(self, *purpose: str | int) -> np.random.Generator:
        """Randomness for one purpose of this part."""
        return stream(self.sampling.seed, self.name, self.shard, *purpose)

    def base_values(self, base: Base) -> pa.Array:
        """What a time of each row is counted from."""
        if not base.through:
            return self.made.columns[base.column]
        key = next(key for key in self.made.structure.table.foreign_keys if key.columns == base.through)
        parents = self.made.parents[self.made.number(key)]
        return self.parent(key).columns[base.column].take(pa.array(parents, mask=parents < 0))

    def drop(self, rows: npt.NDArray[np.bool_]) -> None:
        """Leave out some rows."""
        if rows.any():
            self.made.keep(np.flatnonzero(~rows))
