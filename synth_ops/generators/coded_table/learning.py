"""What every model of one table begins and ends with: its columns are coded and kept, its rows written as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synth_ops.artifact_io import write_table
from synth_ops.artifacts import Snapshot, TableData
from synth_ops.generators.coded_table.columns import Seen
from synth_ops.generators.coded_table.table import TableModel, learn_tables
from synth_ops.metadata import Table
from synth_ops.ports import Progress, ProgressListener

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_UNIT = 1_000
"""Ticks of one fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One table, as a model of it is to learn it.

    Attributes:
        seen: Its labels and ranks.
        frame: The same, as pandas has it: as many rows as the table, as many columns as vary and may be learned.
        tell: Tells what is being done, and which share of all, from 0 to 1, is done.
    """

    table: Table
    seen: Seen
    frame: pd.DataFrame
    tell: Callable[[str, float], None]

    @property
    def empty(self) -> bool:
        """Whether nothing varies that may be learned."""
        return self.frame.empty


def begin(snapshot: Snapshot, folder: Path, progress: ProgressListener) -> Lesson:
    """Code the columns of the one table of a snapshot, and write into the folder how that was done."""
    (table,) = snapshot.metadata.tables

    def tell(item: str, share: float) -> None:
        progress(Progress(step="fit", item=f"{table.name}: {item}", done=round(share * _UNIT), total=_UNIT))

    tell("columns", 0)
    model, seen = learn_tables(snapshot)[table.name]
    model.save(folder)
    return Lesson(table=table, seen=seen, frame=seen.frame(), tell=tell)


def write_drawn(
    folder: Path, name: str, model: TableModel, drawn: Iterator[pa.Table], rows: int, progress: ProgressListener
) -> Mapping[str, TableData]:
    """Write a table batch by batch, and tell how far it is.

    Args:
        rows: How many there will be.
    """

    def tell(done: int) -> None:
        progress(Progress(step="sample", item=name, done=min(done, rows), total=max(rows, 1)))

    def told() -> Iterator[pa.Table]:
        made = 0
        for batch in drawn:
            yield batch
            made += batch.num_rows
            tell(made)

    tell(0)
    return {name: write_table(folder, name, model.schema, told())}
