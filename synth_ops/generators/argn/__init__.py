"""TabularARGN, an autoregressive network for tables (Tiwald et al., 2025), by the package mostlyai-engine (Apache-2.0).

The package can't be installed beside Airflow: give `interpreter` the Python of an environment that has it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from synth_ops.artifacts import Snapshot
from synth_ops.generators.coded_table.settings import Training, whole
from synth_ops.metadata import Metadata
from synth_ops.ports import FittedGenerator, ProgressListener

if find_spec("mostlyai") is None:
    raise ModuleNotFoundError("No module named 'mostlyai'", name="mostlyai")


class ARGN:
    """Learns each column from those before it, in any order. Minutes on a CPU.

    Args:
        epochs: Passes over the table, at most; it stops by itself when it learns no more.
        max_minutes: Training ends in time, and keeps its best state.
        cuda: Whether a GPU is used, if torch sees one.

    Raises:
        RecipeError: One of them can't be.
    """

    version = "2"
    single_table: ClassVar[bool] = True
    own_process: ClassVar[bool] = True

    def __init__(self, *, epochs: int = 100, max_minutes: float | None = None, cuda: bool = True) -> None:
        self._training = Training(epochs=whole("argn", "epochs", epochs), minutes=max_minutes)
        self._cuda = cuda

    def problems(self, snapshot: Snapshot) -> list[str]:
        """Why it can't learn a snapshot: several tables, or keys that would repeat."""
        from synth_ops.generators.coded_table.problems import single_problems

        return single_problems(snapshot.metadata)

    def fit(self, snapshot: Snapshot, folder: Path, *, progress: ProgressListener) -> None:
        """Learn the one table of a snapshot.

        Raises:
            FitError: There are several, or this one can't be learned.
        """
        from synth_ops.generators.argn.engine import fit

        fit(self._training, self._cuda, snapshot, folder, progress)

    def load(self, folder: Path, metadata: Metadata) -> FittedGenerator:
        """Load what `fit` wrote."""
        from synth_ops.generators.argn.engine import FittedTable

        return FittedTable(folder, metadata, cuda=self._cuda)
