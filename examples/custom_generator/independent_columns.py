"""A generator of one's own: tables without references, every column drawn by itself from values that k rows share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synth_ops.artifact_io import table_folder, write_table
from synth_ops.artifacts import Snapshot, TableData
from synth_ops.errors import FitError
from synth_ops.generators.providers import provider_for
from synth_ops.metadata import Kind, Metadata, Table
from synth_ops.ports import Progress, ProgressListener
from synth_ops.sql import K_SUBJECTS

LEARNED = (Kind.CATEGORICAL, Kind.NUMERICAL, Kind.DATETIME, Kind.GEO)


class IndependentColumns:
    """Keeps how often each value comes, where at least `k` rows share it.

    Args:
        k: The fewest rows that share a value.
    """

    version = "1"

    def __init__(self, *, k: int = K_SUBJECTS) -> None:
        self._k = max(k, K_SUBJECTS)

    def fit(self, snapshot: Snapshot, folder: Path, *, progress: ProgressListener) -> None:
        """Write the schema and row count of every table, and a small file for every learned column."""
        problems = [problem for table in snapshot.metadata.tables for problem in _problems(table)]
        if problems:
            raise FitError("; ".join(problems), "use `generator: relational_trees`")
        for number, table in enumerate(snapshot.metadata.tables):
            progress(Progress(step="fit", item=table.name, done=number, total=len(snapshot.metadata.tables)))
            place = table_folder(folder, table.name)
            place.mkdir(parents=True)
            rows = pa.concat_tables([pq.read_table(file) for file in snapshot.tables[table.name].files])
            schema = rows.schema.with_metadata({"rows": str(rows.num_rows)})
            pq.write_table(schema.empty_table(), place / "schema.parquet")
            for position, column in enumerate(table.columns):
                if column.kind in LEARNED:
                    counted = pc.value_counts(rows.column(column.name))
                    kept = counted.filter(pc.greater_equal(counted.field("counts"), self._k))
                    if not len(kept) and column.name in table.required and rows.num_rows:
                        raise FitError(f"{table.name}.{column.name}: no value that {self._k} rows share, and no NULL")
                    pq.write_table(pa.Table.from_struct_array(kept), place / f"{position}.parquet")

    def load(self, folder: Path, metadata: Metadata) -> FittedColumns:
        """A model from what `fit` wrote."""
        return FittedColumns(folder, metadata)


class FittedColumns:
    """The model."""

    def __init__(self, folder: Path, metadata: Metadata) -> None:
        self._folder, self._metadata = folder, metadata

    def sample(self, folder: Path, *, seed: int, scale: float, progress: ProgressListener) -> Mapping[str, TableData]:
        """Write every table; the same seed gives the same bytes."""
        made, total = {}, len(self._metadata.tables)
        for number, table in enumerate(self._metadata.tables):
            progress(Progress(step="sample", item=table.name, done=number, total=total))
            place = table_folder(self._folder, table.name)
            schema = pq.read_schema(place / "schema.parquet")
            rows = round(int(schema.metadata[b"rows"]) * scale)
            drawn = (self._column(table, position, rows, seed, place) for position in range(len(table.columns)))
            columns = [column.cast(field.type) for column, field in zip(drawn, schema, strict=True)]
            schema = schema.remove_metadata()
            made[table.name] = write_table(folder, table.name, schema, [pa.table(columns, schema=schema)])
        return made

    def _column(self, table: Table, position: int, rows: int, seed: int, place: Path) -> pa.Array:
        column = table.columns[position]
        if column.kind not in LEARNED:
            unique = any(column.name in key for key in table.keys)
            return provider_for(column, None, seed=seed, table=table.name, unique=unique).values(0, rows)
        kept = pq.read_table(place / f"{position}.parquet")
        counts = kept.column("counts").to_numpy()
        if not len(counts):
            return pa.nulls(rows)
        generator = np.random.default_rng([seed, position, *table.name.encode()])
        drawn = generator.choice(len(counts), rows, p=counts / counts.sum())
        return kept.column("values").take(pa.array(drawn)).combine_chunks()


def _problems(table: Table) -> Iterator[str]:
    """What this generator can't do: a clear refusal is better than a wrong copy."""
    if table.foreign_keys or table.checks:
        yield f"table {table.name!r} has references or checks, which independent columns would break"
    if any(table.column(name).kind in LEARNED for key in table.keys for name in key):
        yield f"table {table.name!r} has a key of learned values, which independent columns would repeat"
