"""Epochs that are told of, that end in time, and whose loss is a number; random states that are the same every time."""

from __future__ import annotations

import contextlib
import importlib
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from synth_ops.errors import FitError

_LOOPS = ("ctgan.synthesizers.ctgan", "ctgan.synthesizers.tvae", "deepecho.models.par")
"""The modules whose training loops go through their own `tqdm`."""

Told = Callable[[int, int, dict[str, float]], None]
"""Called after an epoch: how many are done, of how many, and the last losses by name."""


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
            longest = max(longest, time.monotonic() - began)
            last = losses()
            broken = sorted(name for name, value in last.items() if not math.isfinite(value))
            if broken:
                raise diverged(broken[0].lower(), done + 1)
            told(done + 1, len(numbers), last)

    with contextlib.ExitStack() as stack:
        for name in _LOOPS:
            module = importlib.import_module(name)
            stack.callback(setattr, module, "tqdm", module.tqdm)
            module.tqdm = epochs  # type: ignore[attr-defined]
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
