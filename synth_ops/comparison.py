"""Which generator for this data: each learns, draws and is gated alike, and nothing is published."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from typing import Any, Self

from synth_ops.artifact_io import read_snapshot
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.choice import ladder
from synth_ops.errors import FitError, GateFailedError, RecipeError, SampleError, SynthOpsError
from synth_ops.ports import Progress, ProgressListener
from synth_ops.recipe import Recipe
from synth_ops.report import night_scores, recall_report
from synth_ops.run import StepResult, run_step, table_makers
from synth_ops.store import Store
from synth_ops.worker.process import held_bytes

_NOWHERE = "parquet:///nowhere"
_LOOK_EVERY_S = 0.05
_BEYOND = 2.0
"""More than twice a limit is not told apart: one measure would outweigh all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What one generator came to.

    Attributes:
        generator: Its name, or the names in it.
        verdict: `passed`, `failed`; empty where there was no copy to judge.
        why: What failed, in names and numbers.
        fit_seconds, sample_seconds: Wall time; None where the artifact was made before its times were kept.
        rows: Of the copy.
        peak_bytes: The most memory that a process and its children held for it while it learned and drew; None where
            it was not measured.
        used: By family of checks, which share of their limits the measures use on average; above 1 is beyond them.
        measures: The mean of every measure, by its name.
        report: Where its report is.
    """

    generator: str
    verdict: str = ""
    why: str = ""
    fit_seconds: float | None = None
    sample_seconds: float | None = None
    rows: int = 0
    peak_bytes: int | None = None
    used: Mapping[str, float] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    report: str = ""

    @property
    def rows_per_second(self) -> float | None:
        """How fast it draws."""
        return self.rows / self.sample_seconds if self.rows and self.sample_seconds else None

    def to_json(self) -> dict[str, Any]:
        """Names and numbers, the speed among them."""
        return {**asdict(self), "rows_per_second": self.rows_per_second}


def compare(
    recipe: Recipe, generators: Sequence[str], *, store: Store, progress: ProgressListener | None = None
) -> list[Compared]:
    """Fit, sample and gate several generators on the same snapshot, one after the other.

    The gate's audit parts the subjects by their keys, so that all are judged on the same halves. A generator that fails
    is no end of the others.

    Args:
        generators: Names; the settings are those that the recipe gives with the name. None for all that it names.

    Raises:
        ConfigError: One does not exist, or can't do what the recipe asks of it; nothing was fitted then.
        SourceError: The source can't be read.
    """
    told = progress or _ignore
    if not generators and len(recipe.generators) == 1:
        raise RecipeError(
            "nothing to compare: the recipe names one generator",
            "name some: --generators relational_trees,marginal_tree",
        )
    alone = recipe.with_locations(target=_NOWHERE)
    settings = dict(recipe.generators)
    chosen = [(name, settings.get(name, {})) for name in dict.fromkeys(generators)] or recipe.generators
    recipes = [_with_generator(alone, *each) for each in chosen]
    for each in recipes:
        ladder(each)  # what can't be is told before the source is read
    snapshot = run_step(alone, "snapshot", store=store, progress=told).ref
    for each in recipes:
        table_makers(each, read_snapshot(store, snapshot))
    found = []
    for number, each in enumerate(recipes):
        label = ladder(each)[0].label
        told(Progress(step="compare", item=label, done=number, total=len(recipes)))
        found.append(_apart(each, label, snapshot, str(store.root)))
    return found


def _with_generator(recipe: Recipe, name: str, settings: Mapping[str, Any]) -> Recipe:
    return recipe.with_changes(generator={name: dict(settings)}, generator_settings={})


def _apart(recipe: Recipe, label: str, snapshot: ArtifactRef, root: str) -> Compared:
    """What one generator comes to in a fresh process, so that none is faster or smaller for what ran before it."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
        try:
            return process.submit(_try, recipe, Compared(generator=label), snapshot, root).result()
        except BrokenProcessPool:
            return Compared(generator=label, why="its process died; mostly for a lack of memory")


def _try(recipe: Recipe, found: Compared, snapshot: ArtifactRef, root: str) -> Compared:
    """What one generator comes to; its failures are results, too."""
    store = Store(root)
    try:
        with _PeakMemory() as memory:
            model = run_step(recipe, "fit", store=store, needs=snapshot)
            copy = run_step(recipe, "sample", store=store, needs=model.ref)
    except (FitError, SampleError) as error:
        return replace(found, why=error.message)
    except SynthOpsError as error:
        if type(error) is not SynthOpsError:
            raise
        return replace(found, why=error.message)  # of a plug-in, which may raise anything
    if not (model.skipped or copy.skipped):
        store.record("peak", copy.ref.id, name="peak", entry={"bytes": memory.peak})
    peaks = store.recorded("peak", copy.ref.id, last=1)
    try:
        report = run_step(recipe, "gate", store=store, needs=copy.ref).ref
        why = ""
    except GateFailedError as error:
        report, why = ArtifactRef(kind=ArtifactKind.REPORT, id=error.report_id), error.facts["blocked_by"]
    judged, document, _ = recall_report(recipe, store, report)
    scores = night_scores(document["outcomes"])
    return replace(
        found,
        verdict=judged.verdict,
        why=why,
        fit_seconds=_seconds(store, model),
        sample_seconds=_seconds(store, copy),
        rows=sum(copy.facts["tables"].values()),
        peak_bytes=peaks[0]["bytes"] if peaks else None,
        used=_used(scores),
        measures={check: score["value"] for check, score in scores.items()},
        report=str(judged.html),
    )


def _seconds(store: Store, made: StepResult) -> float | None:
    """What a step took, now or when it made what was found."""
    noted = store.recorded("seconds", made.ref.id, last=1)
    return float(noted[0]["seconds"]) if noted else None


def _used(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    families: dict[str, list[float]] = defaultdict(list)
    for check, score in scores.items():
        families[check.partition(".")[0]].append(min(score["used"], _BEYOND))
    return {name: sum(shares) / len(shares) for name, shares in families.items()}


class _PeakMemory:
    """The most memory that this process and its children hold while the context is open, where /proc tells."""

    def __enter__(self) -> Self:
        self.peak, self._closed = 0, threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="memory", daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._closed.wait(_LOOK_EVERY_S):
            self.peak = max(self.peak, held_bytes(os.getpid()))


def _ignore(_: Progress) -> None:
    """Nobody is watching."""
