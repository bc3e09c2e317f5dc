"""How large: 3 M flights copied ten times over, by one process and by two; memory counted over all processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
from figures import Bar, Bench, Figure

from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.recipe import Recipe, parse_recipe
from synth_ops.run import open_store, run_step

_PAUSE_S = 0.05
_SCALES = (2.0, 10.0)
_PROGRAM = """
import json, sys
from synth_ops.artifacts import ArtifactRef
from synth_ops.recipe import parse_recipe
from synth_ops.run import open_store, run_step
recipe, model = json.loads(sys.argv[1]), ArtifactRef.from_json(json.loads(sys.argv[2]))
run_step(parse_recipe(recipe), "sample", store=open_store(parse_recipe(recipe), sys.argv[3]), needs=model)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one sampling cost.

    Attributes:
        peak_bytes: The most that all its processes held together: shared pages count once (PSS).
    """

    rows: int
    seconds: float
    peak_bytes: int


def scale(bench: Bench) -> Iterator[Figure]:
    """flights_3m at scale 2 and 10, by one worker and by two."""
    with tempfile.TemporaryDirectory() as text:
        recipe = _recipe(bench, Path(text))
        store = open_store(recipe, Path(text) / "store")
        fit_run, model = _fit(recipe, Path(text) / "store")
        data = "flights_3m"
        yield Figure(data=data, measure="fit, s", value=fit_run.seconds, how=".1f", note=f"{fit_run.rows:,} rows")
        yield _memory(data, "fit", fit_run, None)
        runs: dict[tuple[float, int], Run] = {}
        for size, workers in ((_SCALES[0], 1), (_SCALES[1], 1), (_SCALES[1], 2)):
            changed = recipe.model_copy(update={"scale": size})
            runs[size, workers] = _measured(changed, model, Path(text) / "store", workers)
            for each in (store.root / "copy").iterdir():
                each.rename(Path(text) / f"copy-{size}-{workers}")
            measure = f"sample x {size:g}, {workers} workers"
            run = runs[size, workers]
            rate = run.rows / run.seconds
            yield Figure(data=data, measure=f"{measure}, rows/s", value=rate, how=",.0f", note=f"{run.seconds:.1f} s")
            yield _memory(data, measure, run, Bar(limit=1.5) if size == _SCALES[1] else None)
        one, other = runs[_SCALES[1], 1], runs[_SCALES[1], 2]
        small = runs[_SCALES[0], 1]
        linear = (one.seconds / one.rows) / (small.seconds / small.rows)
        yield Figure(data=data, measure="time a row, x 10 / x 2", value=linear, how=".2f", bar=Bar(limit=1.1))
        faster = Bar(limit=1.7, at_most=False)
        yield Figure(data=data, measure="2 workers / 1", value=one.seconds / other.seconds, how=".2f", bar=faster)


def _memory(data: str, measure: str, run: Run, bar: Bar | None) -> Figure:
    return Figure(data=data, measure=f"{measure}, peak GB", value=run.peak_bytes / 1e9, how=".2f", bar=bar)


def _recipe(bench: Bench, folder: Path) -> Recipe:
    keys = [{"columns": [name], "references": "airports"} for name in ("origin", "destination")]
    document = {
        "source": f"parquet:///{bench.data / 'flights_3m'}",
        "target": f"parquet:///{folder / 'target'}",
        "generator_settings": dict(bench.settings),
        "tables": {"airports": {"primary_key": "iata", "subject": False}, "flights": {"foreign_keys": keys}},
    }
    return parse_recipe(document)


def _fit(recipe: Recipe, store: Path) -> tuple[Run, ArtifactRef]:
    opened = open_store(recipe, store)
    snapshot = run_step(recipe, "snapshot", store=opened)
    with _Watched(psutil.Process()) as watched:
        model = run_step(recipe, "fit", store=opened, needs=snapshot.ref).ref
    return watched.run(sum(snapshot.facts["tables"].values())), model


def _measured(recipe: Recipe, model: ArtifactRef, store: Path, workers: int) -> Run:
    command = [sys.executable, "-c", _PROGRAM, recipe.model_dump_json(), json.dumps(model.to_json()), str(store)]
    environment: Mapping[str, str] = {**os.environ, "SYNTH_OPS_WORKERS": str(workers)}
    process = subprocess.Popen(command, env=environment)
    with _Watched(psutil.Process(process.pid)) as watched:
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, command)
    opened = open_store(recipe, store)
    (made,) = (ref for ref in opened.artifacts(ArtifactKind.COPY))
    return watched.run(sum(entry["rows"] for entry in opened.read(made).body["tables"].values()))


class _Watched:
    """Wall time of a block, and the most memory that a process and its children held in it."""

    def __init__(self, process: psutil.Process) -> None:
        self._process, self._peak, self._over = process, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._seconds = time.perf_counter() - self._started
        self._over.set()
        self._thread.join()

    def run(self, rows: int) -> Run:
        """What was measured."""
        return Run(rows=rows, seconds=self._seconds, peak_bytes=self._peak)

    def _watch(self) -> None:
        while not self._over.wait(_PAUSE_S):
            try:
                everyone = [self._process, *self._process.children(recursive=True)]
                self._peak = max(self._peak, sum(each.memory_full_info().pss for each in everyone))
            except psutil.NoSuchProcess:
                continue  # one has just ended
