"""Fits the built-in generator on real tables and samples a copy, by the public parts alone."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from synth_ops.artifact_io import write_table
from synth_ops.artifacts import ArtifactKind, ArtifactRef, Snapshot, TableData
from synth_ops.generators.relational_trees import RelationalTrees
from synth_ops.kinds import detect
from synth_ops.metadata import Column, ForeignKey, Kind, Metadata, Table
from synth_ops.ports import GeneratorFactory, Progress
from synth_ops.rules import find_rules
from synth_ops.sql import connect

_LEARNED = (Kind.CATEGORICAL, Kind.NUMERICAL, Kind.DATETIME, Kind.GEO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What one call cost: wall time, and processor time of this process and its children."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A synthetic copy of some tables."""

    metadata: Metadata
    tables: Mapping[str, pd.DataFrame]
    fit: Took
    sample: Took

    def compared(self, table: str) -> list[str]:
        """The columns that are learned and can be compared: no keys, nothing that a provider makes."""
        return compared_columns(self.metadata.table(table))

    def left_out(self, table: str) -> list[str]:
        """The others: made by providers or by the keys. To be shown: what is not learned can't be judged."""
        compared = self.compared(table)
        return [name for name in self.metadata.table(table).column_names if name not in compared]


class Stopwatch:
    """`with Stopwatch() as watch: ...` and then `watch.took`."""

    def __enter__(self) -> Self:
        self._started = time.perf_counter(), _cpu_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._started
        self.took = Took(seconds=time.perf_counter() - wall, cpu_seconds=_cpu_seconds() - cpu)


def read_tables(dataset: Path, *names: str) -> dict[str, pa.Table]:
    """Tables of a data set, with their types."""
    return {name: pq.read_table(dataset / f"{name}.parquet") for name in names}


def keys_of(dataset: Path, *names: str) -> dict[str, Mapping[str, Any]]:
    """What `dataset.json` says of some tables' keys; references to other tables are left out."""
    facts = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))["tables"]
    return {
        name: {
            "primary_key": tuple(facts[name]["primary_key"]),
            "foreign_keys": tuple(
                ForeignKey(
                    columns=tuple(key["columns"]), parent=key["ref_table"], parent_columns=tuple(key["ref_columns"])
                )
                for key in facts[name]["foreign_keys"]
                if key["enforced"] and key["ref_table"] in names
            ),
        }
        for name in names
    }


def copy_of(
    tables: Mapping[str, pa.Table],
    *,
    settings: Mapping[str, Any],
    keys: Mapping[str, Mapping[str, Any]] | None = None,
    scale: float = 1.0,
    seed: int = 0,
    method: GeneratorFactory = RelationalTrees,
) -> Copied:
    """Fit on tables and sample a copy of them.

    Args:
        keys: By table name, what else `Table` is to know.
        seed: Of the copy.
    """
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        model, sampled = folder / "model", folder / "copy"
        model.mkdir()
        sampled.mkdir()
        snapshot = snapshot_of(tables, keys or {}, folder / "snapshot")
        generator = method(**settings)
        with Stopwatch() as fit:
            generator.fit(snapshot, model, progress=_ignore)
        with Stopwatch() as sample:
            data = generator.load(model, snapshot.metadata).sample(sampled, seed=seed, scale=scale, progress=_ignore)
        frames = {name: read_frame(each) for name, each in data.items()}
    return Copied(metadata=snapshot.metadata, tables=frames, fit=fit.took, sample=sample.took)


def snapshot_of(tables: Mapping[str, pa.Table], keys: Mapping[str, Mapping[str, Any]], folder: Path) -> Snapshot:
    """A snapshot of tables, with kinds and rules as they are found.

    Args:
        keys: As in `copy_of`.
        folder: Where its files go.
    """
    described, data = [], {}
    with connect() as connection:
        for name, table in tables.items():
            data[name] = write_table(folder, name, table.schema, table.to_batches())
            rows = connection.sql(f"DESCRIBE FROM read_parquet('{data[name].files[0]}')").fetchall()
            columns = tuple(Column(name=column, type=duckdb_type) for column, duckdb_type, *_ in rows)
            described.append(Table(name=name, path=(name,), columns=columns, rows=table.num_rows, **keys.get(name, {})))
    metadata = find_rules(detect(Metadata(tables=tuple(described)), data), data)
    return Snapshot(ref=ArtifactRef(kind=ArtifactKind.SNAPSHOT, id="benchmark"), metadata=metadata, tables=data)


def compared_columns(table: Table) -> list[str]:
    """The columns of a table that are learned and can be compared."""
    keys = {name for key in table.foreign_keys for name in key.columns}
    keys |= {key[0] for key in table.keys if len(key) == 1}
    return [each.name for each in table.columns if each.kind in _LEARNED and each.name not in keys]


def read_frame(data: TableData) -> pd.DataFrame:
    """A table's files as a frame."""
    return as_frame(pa.concat_tables([pq.read_table(file) for file in data.files]))


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Arrow as pandas: decimals as floats, dates as times in their own unit, nothing cut off."""
    fields = [
        field.with_type(pa.float64()) if pa.types.is_decimal(field.type) else field
        for field in table.schema.remove_metadata()
    ]
    return table.cast(pa.schema(fields)).to_pandas(date_as_object=False)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _ignore(_: Progress) -> None:
    """Nobody is watching."""
