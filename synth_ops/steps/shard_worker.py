"""A process that draws shards of a copy: `python -m synth_ops.steps.shard_worker`, fed with JSON, a line each.

The first line says what to sample; every other one is the number of a shard to draw. It answers in lines, too. It ends
with its parent, however that ends: the pipe it reads from closes then.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import IO, Any

from synth_ops import pickles
from synth_ops.artifact_io import tables_to_json
from synth_ops.errors import SynthOpsError, unforeseen
from synth_ops.metadata import Metadata
from synth_ops.ports import Progress, ShardedGenerator
from synth_ops.registry import PluginKind, load


def main() -> None:
    """Answer until there is nothing more to read."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed is no answer
    _use_one_thread()
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin, orders), daemon=True).start()
    try:
        job = json.loads(orders.get())
        pickles.vouch(job["vouched"])
        fitted: ShardedGenerator = load(PluginKind.GENERATOR, job["generator"])(**job["settings"]).load(
            Path(job["model"]), Metadata.from_json(job["metadata"])
        )
        while True:
            _draw(fitted, job, int(orders.get()), answers)
    except SynthOpsError as error:
        _answer(answers, {"error": [error.message, error.hint]})
    except Exception as error:  # noqa: BLE001  its text may hold values, so only its type and place are told
        told = unforeseen(error)
        _answer(answers, {"error": [told.message, told.hint]})


def _draw(fitted: ShardedGenerator, job: dict[str, Any], shard: int, answers: IO[str]) -> None:
    folder = Path(job["folder"])

    def tell(progress: Progress) -> None:
        _answer(answers, {"item": progress.item, "total": progress.total})

    tables = fitted.sample_shard(folder, shard, seed=job["seed"], scale=job["scale"], progress=tell)
    _answer(answers, {"tables": tables_to_json(folder, tables)})


def _answer(answers: IO[str], document: object) -> None:
    answers.write(json.dumps(document) + "\n")
    answers.flush()


def _read(lines: IO[str], orders: queue.SimpleQueue[str]) -> None:
    for line in lines:
        orders.put(line)
    os._exit(0)  # nobody waits for what is being drawn


def _use_one_thread() -> None:
    import pyarrow as pa

    pa.set_cpu_count(1)


if __name__ == "__main__":
    main()
