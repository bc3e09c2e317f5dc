"""SDV's hierarchical model of a few tables: keys are row numbers while it learns, and made by providers afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synth_ops import pickles
from synth_ops.artifact_io import table_folder, write_table
from synth_ops.artifacts import Snapshot, TableData
from synth_ops.errors import FitError, SampleError
from synth_ops.generators.coded_table.problems import hma_problems, refuse
from synth_ops.generators.coded_table.table import Providers, TableModel, learn_tables, values_of
from synth_ops.generators.relational_trees.drawing.values import cast
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.generators.sdv.metadata import KEY, sdv_metadata
from synth_ops.generators.sdv.single import MODEL_FILE, quietly
from synth_ops.generators.sdv.training import fix_chance
from synth_ops.metadata import ForeignKey, Metadata, Table, generation_order
from synth_ops.ports import Progress, ProgressListener

if TYPE_CHECKING:
    import pandas as pd


def fit(snapshot: Snapshot, folder: Path, progress: ProgressListener) -> None:
    """Learn a schema, and write codecs as JSON and the model as a pickle.

    Raises:
        FitError: It has more tables, or other keys, than HMA takes, or can't be learned.
    """
    metadata = snapshot.metadata
    refuse(hma_problems(metadata))
    total = len(metadata.tables) + 1
    for number, table in enumerate(metadata.tables):
        progress(Progress(step="fit", item=f"{table.name}: columns", done=number, total=total))
    fix_chance(0)
    learned = learn_tables(snapshot)
    for name, (model, _) in learned.items():
        place = table_folder(folder, name)
        place.mkdir(parents=True)
        model.save(place)
    if not all(model.rows for model, _ in learned.values()):
        raise FitError("sdv.hma can't learn an empty table", "exclude it, or use `generator: relational_trees`")
    frames = {name: _keyed(snapshot, metadata.table(name), seen.frame()) for name, (_, seen) in learned.items()}
    progress(Progress(step="fit", item="sdv.hma", done=total - 1, total=total))
    with quietly(FitError, "SDV's HMASynthesizer can't learn this schema"):
        from sdv.multi_table import HMASynthesizer

        references = [(table.name, _column(table, key), key.parent) for table, key in _references(metadata)]
        described = sdv_metadata({name: seen for name, (_, seen) in learned.items()}, references)
        made = HMASynthesizer(described, verbose=False)
        made.fit(frames)
        pickles.dump(made, folder / MODEL_FILE)


class FittedSchema:
    """A fitted model of a few tables."""

    def __init__(self, folder: Path, metadata: Metadata) -> None:
        self._folder, self._metadata = folder, metadata

    def sample(self, folder: Path, *, seed: int, scale: float, progress: ProgressListener) -> Mapping[str, TableData]:
        """Write the copy; the same seed gives the same bytes. It is held in memory whole, as SDV does."""
        total = len(self._metadata.tables) + 1
        progress(Progress(step="sample", item="sdv.hma", done=0, total=total))
        synthesizer = pickles.load(self._folder / MODEL_FILE)
        with quietly(SampleError, "SDV's model of this schema can't be sampled"):
            drawn = _drawn(synthesizer, int(stream(seed, "sdv rows").integers(0, 2**31)), scale)
        made: dict[str, dict[str, pa.Array]] = {}
        written: dict[str, TableData] = {}
        for number, name in enumerate(generation_order(self._metadata)[0], start=1):
            progress(Progress(step="sample", item=name, done=number, total=total))
            table, model = self._metadata.table(name), TableModel.load(table_folder(self._folder, name))
            rows = drawn[name]
            providers = Providers(model, table, seed, len(rows))
            made[name] = values_of(rows, providers, 0, len(rows), stream(seed, "sdv", name))
            for key in table.foreign_keys:
                parents = _places(drawn[key.parent], rows[_column(table, key)])
                values = made[key.parent][key.parent_columns[0]].take(parents)
                made[name][key.columns[0]] = cast(values, model.schema.field(key.columns[0]).type)
            whole = pa.table([made[name][each] for each in model.schema.names], schema=model.schema)
            written[name] = write_table(folder, name, model.schema, [whole])
        return written


def _drawn(synthesizer: Any, chance: int, scale: float) -> Mapping[str, pd.DataFrame]:
    fix_chance(chance)
    synthesizer.reset_sampling()
    for each in synthesizer._table_synthesizers.values():  # noqa: SLF001  SDV has no public seed
        if getattr(each, "_model", None) is not None:
            each._set_random_state(chance)  # noqa: SLF001
    drawn: Mapping[str, pd.DataFrame] = synthesizer.sample_scale(scale=scale)
    return drawn


def _keyed(snapshot: Snapshot, table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    """What a table's model is to learn, with numbers of rows for keys."""
    rows = snapshot.tables[table.name].rows
    columns: dict[str, Any] = {KEY: np.arange(rows)}
    for key in table.foreign_keys:
        own, parents = _read(snapshot, table.name, key.columns[0]), _read(snapshot, key.parent, key.parent_columns[0])
        columns[_column(table, key)] = pc.index_in(own, value_set=cast(parents, own.type)).to_pandas()
    return frame.reindex(range(rows)).assign(**columns)


def _read(snapshot: Snapshot, table: str, column: str) -> pa.Array:
    files = snapshot.tables[table].files
    return pa.concat_tables([pq.read_table(file, columns=[column]) for file in files]).column(0).combine_chunks()


def _places(parents: pd.DataFrame, references: pd.Series[Any]) -> pa.Array:
    """The rows that references mean; NULL for none."""
    numbers = pa.array(references, pa.int64(), from_pandas=True)
    return pc.index_in(numbers, value_set=pa.array(parents[KEY], pa.int64()))


def _references(metadata: Metadata) -> Iterator[tuple[Table, ForeignKey]]:
    return ((table, key) for table in metadata.tables for key in table.foreign_keys)


def _column(table: Table, key: ForeignKey) -> str:
    return f"reference_{table.foreign_keys.index(key)}"
