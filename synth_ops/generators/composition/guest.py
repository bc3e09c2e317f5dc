"""One table's guest: which columns it makes, what it learns from, and how its rows come."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synth_ops.artifact_io import write_table
from synth_ops.artifacts import Snapshot, TableData
from synth_ops.errors import SampleError
from synth_ops.generators.composition.exclusive import exclusive_groups, fold, unfold
from synth_ops.generators.composition.sequences import in_sequence, sequence_column
from synth_ops.generators.relational_trees.codec import CategoryCodec, NumberCodec
from synth_ops.generators.relational_trees.drawing.values import chunked, decode
from synth_ops.generators.relational_trees.model import TableModel
from synth_ops.generators.relational_trees.names import COLUMN, column_name
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.generators.relational_trees.structure import Maker, TableStructure, structure
from synth_ops.metadata import ForeignKey, Kind, Metadata, Table
from synth_ops.ports import FittedGenerator, Generator, Progress

_ROUNDS = 8
_BATCH_ROWS = 131_072


def may_have_guest(structure: TableStructure) -> bool:
    """Whether a table has a column that a guest could make, as far as is known before anything is learned."""
    return bool(_planned_columns(structure))


def _planned_columns(structure: TableStructure) -> tuple[str, ...]:
    """The columns that a guest may get; fewer, where it turns out that others decide them."""
    free = (column for column in structure.learned if _is_free(structure.table, column.name))
    return tuple(column.name for column in free if column.kind is not Kind.ID)


def as_planned(snapshot: Snapshot, table: str, *, sequences: bool) -> Snapshot:
    """A table alone with the columns that its guest may get, as far as is known before anything is learned.

    Args:
        sequences: Whether the guest learns sequences; their column is there if the table has any.
    """
    own = structure_of(snapshot, table)
    alone = _alone(snapshot.metadata, table, _planned_columns(own), sequences=sequences and has_sequences(own))
    return dataclasses.replace(snapshot, metadata=alone, tables={table: snapshot.tables[table]}, warnings=())


def has_sequences(structure: TableStructure) -> bool:
    """Whether several rows of a table belong to one parent."""
    return structure.primary is not None and not structure.is_single(structure.primary)


def structure_of(snapshot: Snapshot, table: str) -> TableStructure:
    """How a table is made."""
    rows = {name: data.rows for name, data in snapshot.tables.items()}
    schemas = {name: pq.read_schema(data.files[0]) for name, data in snapshot.tables.items()}
    (own,) = (each for each in structure(snapshot.metadata, rows, schemas) if each.table.name == table)
    return own


def guest_columns(table: Table, model: TableModel) -> tuple[str, ...]:
    """The columns that a guest makes: learned ones that no key needs, and nothing else decides.

    What orders the rows of a parent, what is counted from other times, and what follows from other columns stays with
    the frame: a model that sees one row at a time would break it.
    """
    bound = {*model.bases, *model.ranks, *(each.column for each in model.differences)}
    bound |= {target.name.removeprefix(COLUMN) for target in model.targets if target.rule or target.guards}
    if model.sequence:
        strand = (model.sequence.strand or "").removeprefix(COLUMN)
        bound |= {*model.sequence.ordered_by, strand, model.sequence.time or ""}
    drawn = {target.name for target in model.targets}
    return tuple(
        column.name
        for column in table.columns
        if model.makers[column.name] is Maker.LEARNED
        and isinstance(model.codecs.get(column.name), CategoryCodec | NumberCodec)
        and column_name(column.name) in drawn
        and _is_free(table, column.name)
        and column.name not in bound
    )


def _is_free(table: Table, column: str) -> bool:
    return column not in table.determined and not any(column in key for key in table.keys)


def training_snapshot(
    snapshot: Snapshot,
    table: Table,
    columns: Sequence[str],
    model: TableModel,
    folder: Path,
    *,
    key: ForeignKey | None = None,
) -> tuple[Snapshot, list[list[str]], int]:
    """A table alone, without its keys, as the frame's codecs show it.

    Values that k subjects share are as they are; others are drawn anew from their bin, or from the kept ones.

    Args:
        key: For a guest that learns sequences, what leads to the parents whose rows they are.

    Returns:
        The table; the groups of its columns that are one there (`exclusive`); and how many rows it has, or sequences.
    """
    schema = pa.schema([model.schema.field(name) for name in columns])
    data = snapshot.tables[table.name]
    rows = pa.concat_tables([pq.read_table(file, columns=list(columns)) for file in data.files])
    shown = [_shown(model, name, rows.column(name), table.name) for name in columns]
    whole = pa.Table.from_arrays(shown, schema=schema)
    groups = exclusive_groups(whole)
    folded = fold(whole, groups)
    metadata, learned = _alone(snapshot.metadata, table.name, columns, groups, sequences=key is not None), data.rows
    if key:
        places, owners = in_sequence(data, key, model)
        learned = len(np.unique(owners))
        folded = folded.take(pa.array(places)).add_column(0, sequence_column(columns).name, pa.array(owners))
    written = write_table(folder, table.name, folded.schema, folded.to_batches(max_chunksize=_BATCH_ROWS))
    return dataclasses.replace(snapshot, metadata=metadata, tables={table.name: written}, warnings=()), groups, learned


def _shown(model: TableModel, column: str, values: pa.ChunkedArray, table: str) -> pa.Array:
    codec, generator = model.codecs[column], stream(0, "guest", table, column)
    known = values.cast(pa.string()) if isinstance(codec, CategoryCodec) else values
    if not isinstance(codec, CategoryCodec | NumberCodec):
        raise TypeError(f"column {column!r} is not learned")
    return decode(model, column, codec.encode(chunked(known.combine_chunks())), generator)


def _alone(
    metadata: Metadata,
    name: str,
    columns: Sequence[str],
    groups: Sequence[Sequence[str]] = (),
    *,
    sequences: bool = False,
) -> Metadata:
    """What a guest is told: the columns, and the rules between them; of a group its first column, as a category."""
    table = metadata.table(name)
    folded, first = {group[0] for group in groups}, (sequence_column(columns),) if sequences else ()
    columns = [column for column in columns if not any(column in group[1:] for group in groups)]
    within = (each for each in table.rules if not (each.through or each.child))
    alone = dataclasses.replace(
        table,
        columns=(
            *first,
            *(
                dataclasses.replace(column, type="VARCHAR", kind=Kind.CATEGORICAL) if column.name in folded else column
                for column in table.columns
                if column.name in columns
            ),
        ),
        primary_key=(),
        uniques=(),
        foreign_keys=(),
        checks=(),
        rules=tuple(each for each in within if {each.column, *each.inputs} <= set(columns)),
        generated=(),
        indexes=(),
        unsupported_checks=0,
    )
    return Metadata(tables=(alone,))


class PooledGuest:
    """A fitted generator of one table, that makes as many rows as it is asked for.

    Args:
        fitted: The model.
        table: Its one table's name.
        columns: That it makes.
        learned: How many rows it learned from; sequences, if it learned such.
        groups: Of columns that are one to the model.
        in_sequence: Whether it makes sequences.
    """

    def __init__(
        self,
        fitted: FittedGenerator,
        *,
        table: str,
        columns: Sequence[str],
        learned: int,
        groups: Sequence[Sequence[str]] = (),
        in_sequence: bool = False,
    ) -> None:
        self.columns, self.in_sequence = tuple(columns), in_sequence
        self._fitted, self._table, self._learned, self._groups = fitted, table, learned, groups

    @classmethod
    def load(
        cls, generator: Generator, folder: Path, metadata: Metadata, table: str, entry: Mapping[str, Any]
    ) -> PooledGuest:
        """Load a guest from its folder, and what the frame noted of it."""
        columns, groups, sequences = entry["columns"], entry["exclusive"], entry["in_sequence"]
        fitted = generator.load(folder, _alone(metadata, table, columns, groups, sequences=sequences))
        return cls(fitted, table=table, columns=columns, learned=entry["rows"], groups=groups, in_sequence=sequences)

    def rows(self, count: int, *, seed: int) -> pa.Table:
        """So many rows, in as many draws as that takes; of sequences, the rows of so many.

        Raises:
            SampleError: The model makes too few.
        """
        if self.in_sequence:
            return self._drawn(count, seed)
        found: list[pa.Table] = []
        missing = count
        for attempt in range(_ROUNDS):
            if missing <= 0:
                break
            drawn = int(np.random.default_rng([seed, attempt]).integers(0, 2**31))
            found.append(self._drawn(missing, drawn))
            missing -= found[-1].num_rows
        if missing > 0:
            raise SampleError(
                f"the generator of table {self._table!r} made {count - missing} of the {count} rows asked for",
                "name another `generator` for this table",
            )
        return pa.concat_tables(found).slice(0, count)

    def _drawn(self, count: int, seed: int) -> pa.Table:
        with tempfile.TemporaryDirectory(prefix="synth_ops-") as place:
            scale = count / max(self._learned, 1)
            made = self._fitted.sample(Path(place), seed=seed % 2**31, scale=scale, progress=_ignore)
            return self._read(made[self._table])

    def _read(self, data: TableData) -> pa.Table:
        rows = pa.concat_tables([pq.read_table(file) for file in data.files])
        return unfold(rows, self._groups).select(list(self.columns))


def _ignore(_: Progress) -> None:
    """The frame tells what is being drawn."""
