"""What is known of a table while it is being drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synth_ops.generators.relational_trees.model import TableModel
from synth_ops.generators.relational_trees.references import Rows
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.generators.relational_trees.structure import TableStructure
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.metadata import ForeignKey


@dataclass(slots=True, kw_only=True)
class Made:
    """One table while it is being made, and afterwards as a parent.

    Attributes:
        codes: Of every variable drawn.
        columns: Finished values.
        parents: Of each foreign key: the parent's row, or NO_PARENT or BROKEN.
    """

    structure: TableStructure
    model: TableModel
    rows: int
    codes: dict[str, Codes] = field(default_factory=dict)
    columns: dict[str, pa.Array] = field(default_factory=dict)
    parents: dict[int, Rows] = field(default_factory=dict)

    def number(self, key: ForeignKey) -> int:
        """The foreign key's position in the metadata."""
        return self.structure.table.foreign_keys.index(key)

    def keep(self, rows: Rows) -> None:
        """Leave out all rows but these."""
        self.codes = {name: codes[rows] for name, codes in self.codes.items()}
        taken = pa.array(rows)
        self.columns = {name: column.take(taken) for name, column in self.columns.items()}
        self.parents = {number: parents[rows] for number, parents in self.parents.items()}
        self.rows = len(rows)


class TableDrawing:
    """Draws one table.

    Args:
        made: What is to be filled; its rows are not known yet.
        others: The tables made before, by name.
        seed: Of the copy.
        scale: Of the copy, for tables that stand alone.
        models: Of all tables, also those made later.
    """

    def __init__(
        self, made: Made, others: Mapping[str, Made], *, models: Mapping[str, TableModel], seed: int, scale: float
    ) -> None:
        self.made, self.others, self.models, self.seed, self.scale = made, others, models, seed, scale
        self.name = made.structure.table.name
        self.targets = {target.name: target for target in made.model.targets}
        self.fixed: set[str] = set()
        self.pseudonyms: dict[str, pa.Array] = {}

    def stream(self, *purpose: str | int) -> np.random.Generator:
        """Randomness for one purpose of this table."""
        return stream(self.seed, self.name, *purpose)

    def drop(self, rows: npt.NDArray[np.bool_]) -> None:
        """Leave out some rows."""
        if rows.any():
            self.made.keep(np.flatnonzero(~rows))
