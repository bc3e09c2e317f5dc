"""A worker: `python -m synth_ops.worker FOLDER`, told what to do in lines of JSON, and answering so.

It writes below the folder alone, and ends with its parent, however that ends: the pipe that it reads from closes then.
Whatever it prints goes nowhere, since it may be rows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from synth_ops import __version__, pickles
from synth_ops.artifact_io import tables_from_json, tables_to_json
from synth_ops.artifacts import ArtifactRef, Snapshot
from synth_ops.errors import SynthOpsError, unforeseen
from synth_ops.metadata import Metadata
from synth_ops.ports import ChoosyGenerator, Progress
from synth_ops.registry import PluginKind, load
from synth_ops.worker.confine import first_to_go, write_only_below
from synth_ops.worker.traits import make, traits_of


def main() -> None:
    """Answer until there is nothing more to read."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed is no answer
    first_to_go()
    confined = write_only_below(Path(sys.argv[1]))
    pickles.allow_here()
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin, orders), daemon=True).start()
    _answer(answers, {"ready": __version__, "confined": confined})
    while True:
        order = json.loads(orders.get())
        _answer(answers, _outcome(order, lambda tick: _answer(answers, {"progress": dataclasses.astuple(tick)})))


def _outcome(order: Mapping[str, Any], progress: Callable[[Progress], None]) -> dict[str, Any]:
    """What comes of an order: its result, or an error that holds no value."""
    try:
        pickles.vouch(order.get("vouched", ()))
        name = order["generator"]
        generator = make(load(PluginKind.GENERATOR, name), name, order["settings"], order["budget"])
        return {"result": _CALLS[order["call"]](generator, order, progress)}
    except SynthOpsError as error:
        return {"error": [type(error).__name__, error.message, error.hint]}
    except MemoryError:
        return {"error": ["", "there is not enough memory", "use a generator that needs less, or a `where` or subset"]}
    except Exception as error:  # noqa: BLE001  its text may hold values, so only its type and place are told
        told = unforeseen(error)
        return {"error": ["", told.message, told.hint]}


def _about(generator: Any, _: Mapping[str, Any], __: Callable[[Progress], None]) -> dict[str, Any]:
    return dataclasses.asdict(traits_of(generator))


def _problems(generator: Any, order: Mapping[str, Any], _: Callable[[Progress], None]) -> list[str]:
    return [*generator.problems(_snapshot(order))] if isinstance(generator, ChoosyGenerator) else []


def _fit(generator: Any, order: Mapping[str, Any], progress: Callable[[Progress], None]) -> dict[str, Any]:
    generator.fit(_snapshot(order), Path(order["folder"]), progress=progress)
    return {}


def _snapshot(order: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        ref=ArtifactRef.from_json(order["snapshot"]),
        metadata=Metadata.from_json(order["metadata"]),
        tables=tables_from_json(Path("/"), order["tables"]),
    )


def _sample(generator: Any, order: Mapping[str, Any], progress: Callable[[Progress], None]) -> dict[str, Any]:
    fitted = generator.load(Path(order["model"]), Metadata.from_json(order["metadata"]))
    folder = Path(order["folder"])
    return tables_to_json(folder, fitted.sample(folder, seed=order["seed"], scale=order["scale"], progress=progress))


_CALLS = {"about": _about, "problems": _problems, "fit": _fit, "sample": _sample}


def _answer(answers: IO[str], document: object) -> None:
    answers.write(json.dumps(document) + "\n")
    answers.flush()


def _read(lines: IO[str], orders: queue.SimpleQueue[str]) -> None:
    for line in lines:
        orders.put(line)
    with contextlib.suppress(OSError):
        os.killpg(0, signal.SIGKILL)  # nobody waits for what is being done; what it started goes, too
    os._exit(0)


if __name__ == "__main__":
    main()
