"""The rows of one parent as a sequence, for guests that learn such."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synth_ops.artifacts import TableData
from synth_ops.generators.relational_trees.model import TableModel
from synth_ops.generators.relational_trees.references import Rows
from synth_ops.generators.relational_trees.sequences import order_of
from synth_ops.generators.relational_trees.unique import identify
from synth_ops.metadata import Column, ForeignKey, Kind


def sequence_column(taken: Sequence[str]) -> Column:
    """The column that tells sequences apart, by a name that no other one has."""
    name = "sequence"
    while name in taken:
        name += "_"
    return Column(name=name, type="BIGINT", kind=Kind.ID, nullable=False, provider="integer")


def in_sequence(data: TableData, key: ForeignKey, model: TableModel) -> tuple[Rows, Rows]:
    """The rows that have a parent, sequence by sequence, as the frame orders them; and the sequence of each.

    Args:
        key: Leads to the parent.
    """
    ordered_by = model.sequence.ordered_by if model.sequence else ()
    needed = list(dict.fromkeys((*key.columns, *ordered_by)))
    rows = pa.concat_tables([pq.read_table(file, columns=needed) for file in data.files])
    owner, loose = identify([rows.column(name) for name in key.columns])
    order = order_of(owner, [_ranks(rows.column(name)) for name in ordered_by])
    places = np.lexsort((order.position, order.owner))
    places = places[~loose[places]]
    return places, order.owner[places]


def _ranks(values: pa.ChunkedArray) -> Any:
    return pc.rank(values, sort_keys="ascending", tiebreaker="dense").to_numpy()
