"""Draw the shards of a copy on several processes of this machine, or one by one on several machines."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth_ops import __version__, pickles
from synth_ops.artifact_io import join_parts, tables_from_json, tables_to_json
from synth_ops.artifacts import ArtifactKind, ArtifactRef, TableData
from synth_ops.errors import RecipeError, SampleError
from synth_ops.fingerprint import fingerprint
from synth_ops.metadata import Metadata
from synth_ops.ports import Progress, ProgressListener, ShardedGenerator
from synth_ops.processors import usable_processors
from synth_ops.store import Store

WORKERS_VARIABLE = "SYNTH_OPS_WORKERS"
_MOST_WORKERS = 8
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "SYNTH_OPS_THREADS")
_MODULE = "synth_ops.steps.shard_worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardJob:
    """What to sample.

    Attributes:
        generator: Its name in the registry.
        model: The folder of the fitted model.
        folder: Where the copy goes.
    """

    generator: str
    settings: Mapping[str, Any]
    model: Path
    metadata: Metadata
    folder: Path
    seed: int
    scale: float

    def to_json(self) -> dict[str, Any]:
        """As a worker reads it."""
        return {
            "generator": self.generator,
            "settings": dict(self.settings),
            "model": str(self.model),
            "metadata": self.metadata.to_json(),
            "folder": str(self.folder),
            "seed": self.seed,
            "scale": self.scale,
            "vouched": pickles.vouched(),
        }


def available_workers() -> int:
    """How many processes may draw at a time: what the environment says, else as many as there are processors.

    Raises:
        RecipeError: The environment says something else than a number.
    """
    said = os.environ.get(WORKERS_VARIABLE, "")
    if said and not (said.isdecimal() and int(said)):
        raise RecipeError(f"{WORKERS_VARIABLE} is no number of processes", f"set {WORKERS_VARIABLE} to 1 or more")
    return int(said) if said else min(usable_processors(), _MOST_WORKERS)


def draw_shards(job: ShardJob, count: int, workers: int, progress: ProgressListener) -> dict[str, TableData]:
    """Draw all shards of a copy in processes of their own, which end with this one.

    Raises:
        SampleError: A shard can't be drawn.
    """
    answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    waiting = iter(range(count))
    lock = threading.Lock()
    parts: dict[int, dict[str, TableData]] = {}
    told = 0
    with contextlib.ExitStack() as stack:
        for _ in range(min(workers, count)):
            worker = stack.enter_context(_process())
            threading.Thread(target=_feed, args=(worker, job, waiting, lock, answers), daemon=True).start()
        while len(parts) < count:
            answer = answers.get()
            if "error" in answer:
                raise SampleError(*answer["error"])
            if "tables" in answer:
                parts[answer["shard"]] = tables_from_json(job.folder, answer["tables"])
                continue
            done, told = min(told, answer["total"]), told + 1
            progress(Progress(step="sample", item=answer["item"], done=done, total=answer["total"]))
    return join_parts([parts[shard] for shard in range(count)])


@contextlib.contextmanager
def _process() -> Iterator[subprocess.Popen[str]]:
    """A worker, killed in the end.

    It is a fresh interpreter that imports nothing of what its parent runs in: a forked one would inherit locks, and a
    spawned one the parent's main module, which an orchestrator's tasks can't import.
    """
    environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1")}
    command = [sys.executable, "-m", _MODULE]
    process = subprocess.Popen(  # noqa: S603  this interpreter, our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, encoding="utf-8"
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()


def _feed(
    process: subprocess.Popen[str],
    job: ShardJob,
    waiting: Iterator[int],
    lock: threading.Lock,
    answers: queue.SimpleQueue[dict[str, Any]],
) -> None:
    """Hand a worker one shard after the other, and pass on what it says."""
    try:
        _send(process, job.to_json())
        while True:
            with lock:
                shard = next(waiting, None)
            if shard is None:
                return
            _send(process, shard)
            answer: dict[str, Any] = {}
            while "tables" not in answer:
                answer = json.loads(process.stdout.readline()) if process.stdout else {}
                answers.put({**answer, "shard": shard})
                if "error" in answer:
                    return
    except (OSError, ValueError):
        hint = f"give it more memory, or set {WORKERS_VARIABLE}=1; its own words are in the log"
        answers.put({"error": ["a process that draws shards has died", hint]})


def _send(process: subprocess.Popen[str], document: object) -> None:
    if process.stdin:
        process.stdin.write(json.dumps(document) + "\n")
        process.stdin.flush()


def sample_shard(
    model: ArtifactRef,
    fitted: ShardedGenerator,
    shard: int,
    *,
    seed: int,
    scale: float,
    store: Store,
    progress: ProgressListener,
) -> tuple[ArtifactRef, bool]:
    """Draw one shard into the store, on whatever machine, unless it is there already.

    Returns:
        The shard, and whether it was there already.

    Raises:
        SampleError: It can't be drawn.
    """
    ref = shard_ref(model, shard, seed=seed, scale=scale)
    if store.exists(ref):
        return ref, True
    with store.scratch() as folder:
        tables = fitted.sample_shard(folder, shard, seed=seed, scale=scale, progress=progress)
        store.write(ref, {"model": model.to_json(), "tables": tables_to_json(folder, tables)}, folder)
    return ref, False


def shard_ref(model: ArtifactRef, shard: int, *, seed: int, scale: float) -> ArtifactRef:
    """What a shard is called."""
    return ArtifactRef(kind=ArtifactKind.SHARD, id=fingerprint("shard", __version__, model.id, seed, scale, shard))


def gather_shards(
    shards: Sequence[ArtifactRef], folder: Path, store: Store
) -> tuple[dict[str, TableData], dict[Path, str]]:
    """Put stored shards together as one copy below `folder`.

    Returns:
        The copy's tables, and the digests of their files, as they were checked.

    Raises:
        ArtifactError: One is missing or was changed.
    """
    parts, digests = [], {}
    for ref in shards:
        stored = store.read(ref)
        for data in tables_from_json(stored.path, stored.body["tables"]).values():
            for file in data.files:
                place = folder / file.relative_to(stored.path)
                place.parent.mkdir(parents=True, exist_ok=True)
                _link(file, place)
                digests[place] = stored.digests[file.relative_to(stored.path).as_posix()]
        parts.append(tables_from_json(folder, stored.body["tables"]))
    return join_parts(parts), digests


def _link(file: Path, place: Path) -> None:
    try:
        os.link(file, place)
    except OSError:  # another disk, or one without links
        shutil.copyfile(file, place)
