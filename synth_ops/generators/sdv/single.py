"""Fit SDV's models of one table, and sample them."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth_ops import pickles
from synth_ops.artifacts import Snapshot, TableData
from synth_ops.errors import FitError, SampleError, SynthOpsError
from synth_ops.generators.coded_table.columns import Seen
from synth_ops.generators.coded_table.learning import Lesson, begin, write_drawn
from synth_ops.generators.coded_table.problems import refuse, single_problems, width_problems
from synth_ops.generators.coded_table.settings import Training, fitting_batch
from synth_ops.generators.coded_table.table import TableModel, categories_of, draw_table
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.generators.sdv.checkpoint import Best
from synth_ops.generators.sdv.metadata import TABLE, sdv_metadata
from synth_ops.generators.sdv.training import History, diverged, fix_chance, frugally, watched
from synth_ops.metadata import Metadata, Table
from synth_ops.ports import ProgressListener

if TYPE_CHECKING:
    import pandas as pd

MODEL_FILE = "model.pkl"
_DEFAULT_MEMORY_GB = 4.0
_BEGUN = 0.1
"""The share of a fit that coding its columns is."""


def problems(training: Training | None, snapshot: Snapshot) -> list[str]:
    """Why the one table of a snapshot can't be learned, as far as counting its categories tells."""
    found = single_problems(snapshot.metadata)
    if found or training is None:
        return found
    (table,), (data,) = snapshot.metadata.tables, snapshot.tables.values()
    categories, numbers = categories_of(snapshot)
    allowed = training.memory_gb or _DEFAULT_MEMORY_GB
    return width_problems(table.name, data.rows, categories, numbers, allowed_gb=allowed)


def fit(
    synthesizer: str,
    parameters: Mapping[str, Any],
    training: Training | None,
    snapshot: Snapshot,
    folder: Path,
    progress: ProgressListener,
) -> None:
    """Learn the one table of a snapshot, and write codecs as JSON and the model as a pickle.

    Raises:
        FitError: There are several tables, or this one can't be learned.
    """
    deadline = training.deadline() if training else math.inf
    refuse(single_problems(snapshot.metadata))
    fix_chance(0)
    lesson = begin(snapshot, folder, progress)
    if lesson.empty:
        return
    table, seen, frame = lesson.table, lesson.seen, lesson.frame
    if training:
        categories = {_named(table, name): int(frame[name].nunique()) for name in seen.labels}
        allowed = training.memory_gb or _DEFAULT_MEMORY_GB
        refuse(width_problems(table.name, len(frame), categories, len(seen.numbers), allowed_gb=allowed))
    lesson.tell("model", _BEGUN)
    made = _made(synthesizer, parameters, training, seen, len(frame))
    with quietly(FitError, f"SDV's {synthesizer} can't learn table {table.name!r}"):
        if training:
            _train(made, lesson, training, deadline).save(folder, table.name)
        else:
            made.fit(_given(frame))
        forget_rows(made)
        pickles.dump(made, folder / MODEL_FILE)


def _train(made: Any, lesson: Lesson, training: Training, deadline: float) -> History:
    """Let a network learn in epochs until the deadline, and go back to its best state."""
    processed = made.preprocess(_given(lesson.frame))
    best = Best(made, processed[TABLE] if isinstance(processed, dict) else processed)
    history = History(planned=training.epochs)

    def losses() -> dict[str, float]:
        last = made._model.loss_values.iloc[-1]  # noqa: SLF001  get_loss_values() speaks only when all is over
        return {str(name).lower(): float(value) for name, value in last.items() if "Loss" in str(name)}

    def told(done: int, total: int, last: Mapping[str, float]) -> None:
        history.note(done, last)
        best.look(done)
        shown = ", ".join(f"{name} {value:.3g}" for name, value in last.items())
        lesson.tell(f"epoch {done} of {total}, {shown}", _BEGUN + (1 - _BEGUN) * done / total)

    try:
        with frugally(), watched(losses, told, deadline=deadline):
            made.fit_processed_data(processed)
    except ValueError as error:
        if "nan" in str(error).lower():  # what a network makes is no number any more
            raise diverged("network", history.epochs + 1) from None
        raise
    best.look(history.epochs, last=True)
    best.restore()
    made._model.set_device("cpu")  # noqa: SLF001  rows are drawn wherever it is loaded, and alike
    history.kept, history.lines["distance"] = best.epoch, list(best.distances.items())
    return history


class FittedTable:
    """A fitted model of one table."""

    def __init__(self, folder: Path, metadata: Metadata) -> None:
        self._folder, self._table = folder, metadata.tables[0]

    def sample(self, folder: Path, *, seed: int, scale: float, progress: ProgressListener) -> Mapping[str, TableData]:
        """Write the copy; the same seed gives the same bytes."""
        name = self._table.name
        model = TableModel.load(self._folder)
        synthesizer = pickles.load(self._folder / MODEL_FILE) if (self._folder / MODEL_FILE).exists() else None
        rows = round(model.rows * scale)

        def draw(size: int, batch: int) -> pd.DataFrame:
            chance = int(stream(seed, "sdv rows", name, batch).integers(0, 2**31))
            return draw_rows(synthesizer, size, chance)

        with quietly(SampleError, f"SDV's model of table {name!r} can't be sampled"):
            batches = draw_table(model, self._table, draw, seed=seed, rows=rows)
            return write_drawn(folder, name, model, batches, rows, progress)


def draw_rows(synthesizer: Any, rows: int, chance: int) -> pd.DataFrame:
    """Rows of a model, always the same ones for the same chance; none of its columns where there is no model."""
    import pandas as pd

    if synthesizer is None:
        return pd.DataFrame(index=range(rows))
    fix_chance(chance)
    synthesizer._set_random_state(chance)  # noqa: SLF001  SDV has no public seed
    drawn = synthesizer.sample(num_rows=rows)
    found: pd.DataFrame = drawn[TABLE] if isinstance(drawn, dict) else drawn
    return found


def forget_rows(synthesizer: Any) -> None:
    """Remove what a GAN keeps of its training: for each category, which rows had it."""
    sampler = getattr(synthesizer._model, "_data_sampler", None)  # noqa: SLF001
    if sampler is not None:
        sampler._rid_by_cat_cols = []  # noqa: SLF001  used by training alone


def _made(synthesizer: str, parameters: Mapping[str, Any], training: Training | None, seen: Seen, rows: int) -> Any:
    """An unfitted synthesizer, of SDV 1 or 2."""
    import sdv
    import sdv.single_table

    given = dict(parameters)
    if "cuda" in given and _major(sdv) > 1:
        given["enable_gpu"] = given.pop("cuda")
    if training:
        given["epochs"] = training.epochs
        given["batch_size"] = given["batch_size"] or fitting_batch(rows, given.get("pac", 1))
    with quietly(FitError, f"SDV's {synthesizer} does not take these columns"):
        made = getattr(sdv.single_table, synthesizer)
        return made(sdv_metadata({TABLE: seen}), enforce_min_max_values=True, enforce_rounding=False, **given)


def _given(frame: pd.DataFrame) -> Any:
    """A table as SDV takes it: by its name, since version 2."""
    import sdv

    return {TABLE: frame} if _major(sdv) > 1 else frame


def _major(package: Any) -> int:
    return int(package.__version__.partition(".")[0])


def _named(table: Table, label: str) -> str:
    """The column that a label is of."""
    return table.columns[int(label.partition("_")[2])].name


@contextlib.contextmanager
def quietly(failure: type[SynthOpsError], what: str) -> Iterator[None]:
    """SDV warns of much that is no news, and its errors print rows: only their type is told."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (SynthOpsError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001
        raise failure(f"{what}: {type(error).__name__}", "use `generator: relational_trees` for it") from None
