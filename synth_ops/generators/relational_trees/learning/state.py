"""What is known of a table while it is being learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from synth_ops.generators.relational_trees.bases import Base
from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.codec import Codec, Subjects
from synth_ops.generators.relational_trees.differences import Difference
from synth_ops.generators.relational_trees.model import ReferenceModel
from synth_ops.generators.relational_trees.references import Rows
from synth_ops.generators.relational_trees.sequences import Order, SequenceModel
from synth_ops.generators.relational_trees.structure import Maker, TableStructure
from synth_ops.metadata import ForeignKey
from synth_ops.sql import quote

if TYPE_CHECKING:
    import duckdb

SOURCE = "source"
"""The schema under which the snapshot's tables are registered."""


@dataclass(slots=True, kw_only=True)
class Learning:
    """What is known of one table while the snapshot is being learned."""

    structure: TableStructure
    rows: int
    schema: pa.Schema
    makers: dict[str, Maker]
    subjects: Subjects = ()
    codecs: dict[str, Codec] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    parents: dict[int, Rows] = field(default_factory=dict)
    references: dict[int, ReferenceModel] = field(default_factory=dict)
    public_keys: dict[str, dict[int, Any]] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    deepest: dict[int, int] = field(default_factory=dict)
    order: Order | None = None
    places: dict[str, Rows] = field(default_factory=dict)
    sequence: SequenceModel | None = None
    differences: list[Difference] = field(default_factory=list)
    bases: dict[str, Base] = field(default_factory=dict)

    def number(self, key: ForeignKey) -> int:
        """The foreign key's position in the metadata."""
        return self.structure.table.foreign_keys.index(key)

    def counted(self) -> set[str]:
        """The columns that are counted from other ones."""
        return {each.column for each in self.differences}


def read_columns(connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str]) -> list[pa.ChunkedArray]:
    """Columns of a registered table."""
    names = ", ".join(quote(name) for name in columns)
    result = connection.sql(f"SELECT {names} FROM {quote(SOURCE)}.{quote(table)}").to_arrow_table()
    return [result.column(number) for number in range(len(columns))]
