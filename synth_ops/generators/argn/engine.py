"""Fit the network of one table, and sample it, in a workspace of the engine's own layout."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth_ops import pickles
from synth_ops.artifacts import Snapshot, TableData
from synth_ops.errors import FitError
from synth_ops.generators.coded_table.learning import Lesson, begin, write_drawn
from synth_ops.generators.coded_table.problems import refuse, single_problems
from synth_ops.generators.coded_table.settings import Training
from synth_ops.generators.coded_table.table import TableModel, draw_table
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.metadata import Metadata
from synth_ops.ports import ProgressListener

if TYPE_CHECKING:
    import pandas as pd

_WORKSPACE = "engine"
_NEEDED = ("ModelStore/model-data/model-weights.pt", "ModelStore/model-data/model-configs.json", "ModelStore/tgt-stats")
_DATA = "OriginalData/tgt-meta"
_LONGEST_MINUTES = 240.0


def fit(training: Training, cuda: bool, snapshot: Snapshot, folder: Path, progress: ProgressListener) -> None:
    """Learn the one table of a snapshot, and write codecs as JSON and the weights of the network.

    Raises:
        FitError: There are several tables, or training came to nothing.
    """
    deadline = training.deadline()
    refuse(single_problems(snapshot.metadata))
    lesson = begin(snapshot, folder, progress)
    if lesson.empty:
        return
    lesson.tell("model", 0)
    best = 0.0

    def told(**news: Any) -> None:
        nonlocal best
        message = news.get("message") or {}
        loss = message.get("val_loss") or message.get("trn_loss")
        if loss is None:
            return
        epoch = float(message.get("epoch") or 0)
        best = max(best, min(epoch / training.epochs, 1.0))
        lesson.tell(f"epoch {epoch:.1f} of {training.epochs}, loss {float(loss):.3g}", best)

    with tempfile.TemporaryDirectory() as place:
        workspace = Path(place)
        _train(workspace, lesson, training.epochs, deadline, device=_device(cuda=cuda), told=told)
        for name in (*_NEEDED, _DATA):
            target = folder / _WORKSPACE / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not (workspace / name).exists():
                raise FitError(
                    f"table {lesson.table.name!r}: training ended without a model", "give it more minutes or epochs"
                )
            shutil.move(workspace / name, target)


def _train(workspace: Path, lesson: Lesson, epochs: int, deadline: float, *, device: str, told: Any) -> None:
    from mostlyai import engine

    engine.set_random_state(0)
    seen = lesson.seen
    kinds = dict.fromkeys(seen.labels, "TABULAR_CATEGORICAL") | dict.fromkeys(seen.numbers, "TABULAR_NUMERIC_AUTO")
    engine.split(tgt_data=lesson.frame, model_type="TABULAR", tgt_encoding_types=kinds, workspace_dir=workspace)
    engine.analyze(workspace_dir=workspace, value_protection=False)  # codes are protected already
    engine.encode(workspace_dir=workspace)
    engine.train(
        workspace_dir=workspace,
        max_training_time=min(max(deadline - time.monotonic(), 1.0) / 60, _LONGEST_MINUTES),
        max_epochs=epochs,
        device=device,
        update_progress=told,
    )


class FittedTable:
    """A fitted network of one table."""

    def __init__(self, folder: Path, metadata: Metadata, *, cuda: bool) -> None:
        self._folder, self._table, self._cuda = folder, metadata.tables[0], cuda

    def sample(self, folder: Path, *, seed: int, scale: float, progress: ProgressListener) -> Mapping[str, TableData]:
        """Write the copy; the same seed gives the same bytes."""
        name, model = self._table.name, TableModel.load(self._folder)
        rows = round(model.rows * scale)
        with tempfile.TemporaryDirectory() as place:
            workspace = self._workspace(Path(place))

            def draw(size: int, batch: int) -> pd.DataFrame:
                return _drawn(workspace, size, int(stream(seed, "argn", name, batch).integers(0, 2**31)), self._cuda)

            batches = draw_table(model, self._table, draw, seed=seed, rows=rows)
            return write_drawn(folder, name, model, batches, rows, progress)

    def _workspace(self, place: Path) -> Path | None:
        """A copy of the model's files, each of them vouched for; None where there is nothing to draw."""
        source = self._folder / _WORKSPACE
        for file in (path for path in source.rglob("*") if path.is_file()):
            target = place / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(pickles.verified(file))
        return place if source.exists() else None


def _drawn(workspace: Path | None, rows: int, chance: int, cuda: bool) -> pd.DataFrame:
    import pandas as pd

    if workspace is None:
        return pd.DataFrame(index=range(rows))
    from mostlyai import engine

    engine.set_random_state(chance)
    engine.generate(sample_size=rows, workspace_dir=workspace, device=_device(cuda=cuda))
    files = sorted((workspace / "SyntheticData").glob("*.parquet"))
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)


def _device(*, cuda: bool) -> str:
    import torch

    return "cuda" if cuda and torch.cuda.is_available() else "cpu"
