"""Start a worker, hand it orders, watch its time and memory, and end it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from synth_ops import __version__, errors
from synth_ops.errors import RecipeError, SynthOpsError
from synth_ops.ports import Progress, ProgressListener
from synth_ops.scratch import scratch_folder
from synth_ops.worker.confine import scrubbed

_MODULE = "synth_ops.worker"
_LOOK_EVERY_S = 0.1
_PATIENCE_S = 120.0
"""How long an interpreter may take to start, on a machine that has much to do."""
_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a worker may go.

    Attributes:
        minutes: For one order; None for any time.
        memory_gb: In GiB, of what it and its children hold; None for any amount. Watched where there is a /proc.
    """

    minutes: float | None = None
    memory_gb: float | None = None


class Loss(Enum):
    """Why a worker gives no answer."""

    DEATH = "it died"
    TIME = "it is late"
    MEMORY = "it holds too much memory"


class WorkerProcess:
    """A running worker, ended when it is no longer needed: closed, collected, or with this process.

    It is a fresh interpreter that imports nothing of what its parent runs in, and a child that may be started by a
    daemonic process, as an orchestrator's tasks are.

    Args:
        interpreter: The Python that it runs in.

    Raises:
        RecipeError: There is no such Python, or it has no synth_ops of this version.
    """

    def __init__(self, interpreter: str) -> None:
        with contextlib.ExitStack() as stack:
            self.area = stack.enter_context(scratch_folder(Path(tempfile.gettempdir()))).resolve()
            self._process = _start(interpreter, self.area)
            stack.callback(_end, self._process)
            self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
            threading.Thread(target=_listen, args=(self._process, self._answers), daemon=True).start()
            started = self._next(time.monotonic() + _PATIENCE_S)
            if isinstance(started, Loss) or started.get("ready") != __version__:
                raise RecipeError(
                    f"{interpreter} can't run synth_ops {__version__}: it has {_other(started)}",
                    f'{interpreter} -m pip install "synth-ops=={__version__}", with what the generator needs',
                )
            self.confined = bool(started["confined"])
            self.close = weakref.finalize(self, stack.pop_all().close)

    @property
    def alive(self) -> bool:
        """Whether it can take another order."""
        return self.close.alive and self._process.poll() is None

    def ask(
        self,
        order: Mapping[str, Any],
        *,
        limits: Limits,
        progress: ProgressListener,
        failure: type[SynthOpsError],
    ) -> Any:
        """Have one order carried out.

        Raises:
            SynthOpsError: `failure`, or what the generator raised; the worker has ended if it did not answer.
        """
        name = order["generator"]
        deadline = time.monotonic() + limits.minutes * 60 if limits.minutes else None
        self._send(order)
        while True:
            answer = self._next(deadline, limits.memory_gb)
            if isinstance(answer, Loss):
                raise failure(*self._lost(answer, name, limits))
            if "progress" in answer:
                step, item, done, total = answer["progress"]
                progress(Progress(step=str(step), item=str(item), done=int(done), total=int(total)))
            elif "error" in answer:
                kind, message, hint = map(str, answer["error"])
                raise _foreseen(kind, failure)(message, hint)
            else:
                return answer["result"]

    def _send(self, order: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it is dead: there will be no answer either
            if self._process.stdin:
                self._process.stdin.write(json.dumps(order) + "\n")
                self._process.stdin.flush()

    def _next(self, deadline: float | None, memory_gb: float | None = None) -> dict[str, Any] | Loss:
        """The next answer, or why there is none."""
        while deadline is None or time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=_LOOK_EVERY_S) or Loss.DEATH
            if memory_gb and held_bytes(self._process.pid) > memory_gb * _GIB:
                return Loss.MEMORY
        return Loss.TIME

    def _lost(self, loss: Loss, name: str, limits: Limits) -> tuple[str, str]:
        """End the worker, and say why there is no answer, and what to do."""
        self.close()
        other = "or use another generator"
        if loss is Loss.TIME:
            return f"generator {name!r} was not done after {limits.minutes:g} minutes", f"raise `max_minutes`, {other}"
        if loss is Loss.MEMORY:
            return (
                f"generator {name!r} took more than {limits.memory_gb:g} GiB of memory",
                f"raise `max_memory_gb`, read less (`subset`, `where`), {other}",
            )
        code = self._process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return (
            f"the process of generator {name!r} has died: {how}",
            f"SIGKILL is mostly a lack of memory: read less (`subset`, `where`), {other}",
        )


def worker_for(interpreter: str) -> WorkerProcess:
    """The worker of an interpreter, which all generators share that this thread uses in the same environment.

    So a package that takes seconds to import is imported once for all tables. It ends when nobody holds it any more.

    Raises:
        RecipeError: As in `WorkerProcess`.
    """
    environment = tuple(sorted(scrubbed(os.environ, Path()).items()))
    key = (interpreter, os.getpid(), threading.get_ident(), environment)  # a pipe has one reader
    worker = _running.get(key)
    if worker is None or not worker.alive:
        worker = _running[key] = WorkerProcess(interpreter)
    return worker


_running: weakref.WeakValueDictionary[tuple[object, ...], WorkerProcess] = weakref.WeakValueDictionary()


def _start(interpreter: str, area: Path) -> subprocess.Popen[str]:
    command = [interpreter, "-P", "-m", _MODULE, str(area)]
    try:
        return subprocess.Popen(  # noqa: S603  an interpreter that the recipe names, our own module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=scrubbed(os.environ, area),
            cwd=area,
            start_new_session=True,
            text=True,
            encoding="utf-8",
        )
    except OSError as error:
        raise RecipeError(
            f"can't start the interpreter {interpreter}: {error.strerror or type(error).__name__}",
            "give the path of a Python: /path/to/environment/bin/python",
        ) from None


def _end(process: subprocess.Popen[str]) -> None:
    """Kill it and what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()


def _listen(process: subprocess.Popen[str], answers: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    """Put every answer into a queue, and None when there will be no more."""
    with contextlib.suppress(ValueError, OSError):  # closed, or no JSON: no worker of ours
        for line in process.stdout or ():
            answers.put(json.loads(line))
    answers.put(None)


def _foreseen(kind: str, failure: type[SynthOpsError]) -> type[SynthOpsError]:
    """The class of an error that a worker raised, where it is one that needs a message and a hint alone."""
    found = getattr(errors, kind, failure) if kind not in ("MetadataError", "SynthOpsError") else failure
    return found if isinstance(found, type) and issubclass(found, SynthOpsError) else failure


def _other(started: Mapping[str, Any] | Loss) -> str:
    return "none that starts" if isinstance(started, Loss) else f"version {started.get('ready')}"


def held_bytes(process: int) -> int:
    """The resident memory of a process and of its children, in bytes; 0 where it can't be told."""
    total = 0
    with contextlib.suppress(OSError, ValueError):
        total = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            total += sum(held_bytes(int(child)) for child in children.read_text(encoding="ascii").split())
    return total
