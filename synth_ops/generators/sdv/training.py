"""Epochs that are told of, that end in time, and whose loss is a number; random states that are the same every time."""

from __future__ import annotations

import contextlib
import importlib
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from synth_ops.errors import FitError
from synth_ops.learning_curve import LearningCurve

_LOOPS = ("ctgan.synthesizers.ctgan", "ctgan.synthesizers.tvae", "deepecho.models.par")
"""The modules whose training loops go through their own `tqdm`."""

Told = Callable[[int, int, dict[str, float]], None]
"""Called after an epoch, as part of the time that it takes: how many are done, of how many, and the last losses."""


class History:
    """What was noted of a training.

    Attributes:
        epochs: How many were done.
        planned: How many there might have been.
        kept: After which one the state was that is kept.
        lines: What was measured: epoch and value, by name.
    """

    def __init__(self, planned: int) -> None:
        self.planned, self.epochs, self.kept = planned, 0, 0
        self.lines: dict[str, list[tuple[int, float]]] = {}

    def note(self, epoch: int, measured: Mapping[str, float]) -> None:
        """Add what was measured after an epoch."""
        self.epochs = epoch
        for name, value in measured.items():
            self.lines.setdefault(name, []).append((epoch, value))

    def save(self, folder: Path, table: str) -> None:
        """Leave it beside the model, for reports."""
        curve = LearningCurve(table=table, epochs=self.epochs, planned=self.planned, kept=self.kept, lines=self.lines)
        curve.save(folder)


@contextlib.contextmanager
def watched(losses: Callable[[], dict[str, float]], told: Told, *, deadline: float) -> Iterator[None]:
    """While this is open, training loops of SDV's packages report, and stop before the time is over.

    Args:
        losses: Those of the last epoch, by name.
        deadline: By the monotonic clock.

    Raises:
        FitError: From inside the loop: a loss is no number any more.
    """

    def epochs(planned: Iterable[int], **_: Any) -> Iterator[int]:
        numbers = list(planned)
        longest = 0.0
        for done, number in enumerate(numbers):
            began = time.monotonic()
            if done and began + longest > deadline:
                return
            yield number
            last = losses()
            broken = sorted(name for name, value in last.items() if not math.isfinite(value))
            if broken:
                raise diverged(broken[0].lower(), done + 1)
            told(done + 1, len(numbers), last)
            longest = max(longest, time.monotonic() - began)

    with contextlib.ExitStack() as stack:
        for name in _LOOPS:
            module = importlib.import_module(name)
            stack.callback(setattr, module, "tqdm", module.tqdm)
            module.tqdm = epochs  # type: ignore[attr-defined]
        yield


@contextlib.contextmanager
def frugally() -> Iterator[None]:
    """While this is open, packages start no processes of their own, and threads only for networks.

    A process has to import torch before it codes one column, and would take memory beyond what a worker may; mixtures
    of numbers in single columns are found twice as fast by one thread as by two that wait for each other.
    """
    import joblib
    import threadpoolctl

    with joblib.parallel_config(backend="sequential"), threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


def diverged(what: str, epoch: int) -> FitError:
    """Training that came to nothing."""
    return FitError(
        f"training diverged: the {what} is no number any more in epoch {epoch}",
        "lower the learning rate, set a larger batch_size, or use another generator",
    )


def fix_chance(seed: int) -> None:
    """Make every random state that SDV and its packages use the same; SDV has no seed of its own."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  the state that SDV draws from
    torch.manual_seed(seed)
