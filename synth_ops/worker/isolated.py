"""Any generator, run in a process of its own."""

from __future__ import annotations

import copy
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from synth_ops import pickles
from synth_ops.artifact_io import tables_from_json, tables_to_json
from synth_ops.artifacts import Snapshot, TableData
from synth_ops.errors import FitError, RecipeError, SampleError, SynthOpsError
from synth_ops.fingerprint import file_digest
from synth_ops.metadata import Metadata
from synth_ops.ports import ChoosyGenerator, Generator, Progress, ProgressListener
from synth_ops.registry import PluginKind, load
from synth_ops.worker.process import Limits, WorkerProcess, worker_for
from synth_ops.worker.traits import Traits, make, traits_of

INTERPRETER, OWN_PROCESS, MINUTES, MEMORY = "interpreter", "own_process", "max_minutes", "max_memory_gb"
_ASKS_FOR_A_PROCESS = (INTERPRETER, OWN_PROCESS, MINUTES, MEMORY)


def open_generator(name: str, settings: Mapping[str, Any]) -> Generator:
    """The generator of that name, in a process of its own where it is one of that sort, or where the settings say so.

    Args:
        settings: Its own, and for any generator: `own_process` (true), `interpreter` (the Python of an environment that
            has what this one lacks), `max_minutes` and `max_memory_gb` (how long it may learn, or draw, and how much
            memory it may hold).

    Raises:
        ConfigError: There is none, it does not take the settings, or it can't run there.
    """
    own = {key: value for key, value in settings.items() if key not in _ASKS_FOR_A_PROCESS}
    if any(settings.get(key) for key in _ASKS_FOR_A_PROCESS):
        return Isolated(name, settings)
    generator: Generator = make(load(PluginKind.GENERATOR, name), name, own, {})
    return Isolated(name, settings) if traits_of(generator).own_process else generator


class Isolated:
    """A generator whose every call is carried out by a worker, which stays for the next one as long as this object.

    Others that need the same interpreter share it.

    A model that it loads is one that this process vouches for (`pickles`), if it is a pickle.

    Args:
        name: Of the generator.
        settings: As in `open_generator`.

    Raises:
        ConfigError: As in `open_generator`.
    """

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        self._name = name
        self._own = {key: value for key, value in settings.items() if key not in _ASKS_FOR_A_PROCESS}
        self._budget = {key: settings[key] for key in (MINUTES, MEMORY) if key in settings}
        self._interpreter = str(settings.get(INTERPRETER) or "")
        self._limits = Limits(minutes=_positive(name, MINUTES, settings), memory_gb=_positive(name, MEMORY, settings))
        self._worker: WorkerProcess | None = None
        self._here = None if self._interpreter else self._made_here()
        traits = self._told() if self._here is None else traits_of(self._here)
        self.version, self.single_table, self.licence = traits.version, traits.single_table, traits.licence
        self.sequences = traits.sequences
        self.own_process = True

    def fit(self, snapshot: Snapshot, folder: Path, *, progress: ProgressListener) -> None:
        """Have it learned, and take over the files.

        Raises:
            FitError: It can't be done, takes too long or too much, or the worker died.
        """
        with self._area(FitError) as (worker, area):
            self._ask(worker, {"call": "fit", **_told_of(snapshot), "folder": str(area)}, progress, FitError)
            _move(area, folder, FitError)
        pickles.vouch(file_digest(file) for file in folder.rglob("*") if file.is_file())

    def load(self, folder: Path, metadata: Metadata) -> IsolatedModel:
        """The model; nothing of it is read in this process."""
        return IsolatedModel(self, folder, metadata)

    def draw(
        self, model: Path, metadata: Metadata, folder: Path, *, seed: int, scale: float, progress: ProgressListener
    ) -> Mapping[str, TableData]:
        """Have a copy drawn from a model, and take over the files.

        Raises:
            SampleError: It can't be done, takes too long or too much, or the worker died.
        """
        with self._area(SampleError) as (worker, area):
            order = {
                "call": "sample",
                "model": str(model.absolute()),
                "metadata": metadata.to_json(),
                "folder": str(area),
                "seed": seed,
                "scale": scale,
            }
            tables = self._ask(worker, order, progress, SampleError)
            moved = _move(area, folder, SampleError)
        made = tables_from_json(folder, tables)
        if not moved >= {file for data in made.values() for file in data.files}:
            raise SampleError(
                f"generator {self._name!r} made files outside its folder", "report it to the author of the plug-in"
            )
        return made

    def problems(self, snapshot: Snapshot) -> Sequence[str]:
        """What of a snapshot is too much for it; asked of its own interpreter, where it has one.

        Raises:
            FitError: It can't be asked.
        """
        if self._here is None:
            told: list[str] = self._ask(self._running(), {"call": "problems", **_told_of(snapshot)}, _ignore, FitError)
            return told
        return self._here.problems(snapshot) if isinstance(self._here, ChoosyGenerator) else ()

    def within(self, *, share: float, minutes: float) -> Isolated:
        """The same generator with less time, as one of several that share a budget.

        Args:
            share: For how many minutes it learns, if it can end when it wants to.
            minutes: After how many it is ended.
        """
        other, own = copy.copy(self), self._limits.minutes or minutes
        other._budget = {**self._budget, MINUTES: min(share, own)}  # noqa: SLF001  of its own class
        other._limits = replace(self._limits, minutes=min(minutes, own))  # noqa: SLF001  of its own class
        return other

    def _made_here(self) -> Generator:
        """The generator in this process: to know what it takes, and for nothing else."""
        made: Generator = make(load(PluginKind.GENERATOR, self._name), self._name, self._own, self._budget)
        return made

    def _told(self) -> Traits:
        """What the generator says of itself in its own interpreter."""
        return Traits(**self._ask(self._running(), {"call": "about"}, _ignore, RecipeError))

    def _running(self) -> WorkerProcess:
        self._worker = worker_for(self._interpreter or sys.executable)
        return self._worker

    @contextmanager
    def _area(self, failure: type[SynthOpsError]) -> Iterator[tuple[WorkerProcess, Path]]:
        """A worker, and an empty folder where it may write."""
        worker = self._running()
        area = worker.area / "files"
        shutil.rmtree(area, ignore_errors=True)
        try:
            area.mkdir()
            yield worker, area
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise failure(f"can't take over the files of generator {self._name!r}: {reason}") from None
        finally:
            shutil.rmtree(area, ignore_errors=True)

    def _ask(
        self, worker: WorkerProcess, order: Mapping[str, Any], progress: ProgressListener, failure: type[SynthOpsError]
    ) -> Any:
        made_by = {"generator": self._name, "settings": self._own, "budget": self._budget}
        whole = {**order, **made_by, "vouched": pickles.vouched()}
        return worker.ask(whole, limits=self._limits, progress=progress, failure=failure)


class IsolatedModel:
    """A model that is loaded where it is sampled."""

    def __init__(self, generator: Isolated, folder: Path, metadata: Metadata) -> None:
        self._generator, self._folder, self._metadata = generator, folder, metadata

    def sample(self, folder: Path, *, seed: int, scale: float, progress: ProgressListener) -> Mapping[str, TableData]:
        """Write a synthetic copy of every table below `folder`; the same seed gives the same bytes."""
        return self._generator.draw(self._folder, self._metadata, folder, seed=seed, scale=scale, progress=progress)


def _positive(name: str, key: str, settings: Mapping[str, Any]) -> float | None:
    value = settings.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        raise RecipeError(f"generator {name!r}: {key} is not a number above 0")
    return float(value)


def _told_of(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "snapshot": snapshot.ref.to_json(),
        "metadata": snapshot.metadata.to_json(),
        "tables": tables_to_json(Path("/"), snapshot.tables),
    }


def _move(area: Path, folder: Path, failure: type[SynthOpsError]) -> set[Path]:
    """Move what was written to where it is wanted; links would lead out of there."""
    found = sorted(area.rglob("*"))
    if any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in found):
        raise failure("a generator may write files and folders only", "report it to the author of the plug-in")
    moved = {folder / path.relative_to(area) for path in found if path.is_file()}
    for path in area.iterdir():
        shutil.move(path, folder / path.name)
    return moved


def _ignore(_: Progress) -> None:
    """Nobody is watching."""
