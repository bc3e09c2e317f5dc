"""What can be set of the models that learn in epochs; checked before anything is read."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synth_ops.errors import RecipeError
from synth_ops.metadata import did_you_mean

_AFTER, _AFTER_S, _MOST_AFTER = 0.1, 30.0, 0.25
"""What of a budget is left for the time after training: a share, but so many seconds, but not more than a share."""
_STEPS, _SMALLEST_BATCH, _LARGEST_BATCH = 20, 50, 500
_DISTRIBUTIONS = ("beta", "gamma", "norm", "truncnorm", "uniform")


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a network is trained.

    Attributes:
        epochs: At most; fewer where the time is over before.
        minutes: How long training may take; None for any time.
        memory_gb: How much memory it may hold, in GiB; None for `DEFAULT_MEMORY_GB`.
    """

    epochs: int
    minutes: float | None = None
    memory_gb: float | None = None

    def deadline(self) -> float:
        """When training that is asked for now has to end, by the monotonic clock; what comes after takes time, too."""
        if self.minutes is None:
            return math.inf
        seconds = self.minutes * 60
        return time.monotonic() + seconds - max(seconds * _AFTER, min(_AFTER_S, seconds * _MOST_AFTER))


def whole(name: str, key: str, value: Any, *, least: int = 1) -> int:
    """A setting that is a whole number.

    Raises:
        RecipeError: It is none, or too small.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise RecipeError(f"generator {name!r}: {key} is not a whole number of at least {least}")
    return value


def widths(name: str, key: str, value: Any) -> tuple[int, ...]:
    """The widths of a network's layers."""
    if not isinstance(value, list | tuple) or not value:
        raise RecipeError(f"generator {name!r}: {key} is not a list of layer widths, such as [256, 256]")
    return tuple(whole(name, key, each) for each in value)


def positive(name: str, key: str, value: Any) -> float:
    """A setting that is a number above 0."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise RecipeError(f"generator {name!r}: {key} is not a number above 0")
    return float(value)


def fitting_batch(rows: int, pac: int = 1) -> int:
    """How many rows a step is to take, where nobody says so: few enough for a small table to have some steps an epoch.

    Args:
        pac: What it must be a multiple of; it is even, too.

    >>> fitting_batch(1_000), fitting_batch(100_000), fitting_batch(3, pac=30)
    (50, 500, 60)
    """
    unit = math.lcm(2, pac)
    wanted = min(max(rows // _STEPS, _SMALLEST_BATCH), _LARGEST_BATCH)
    return max(wanted // unit, math.ceil(_SMALLEST_BATCH / unit)) * unit


def batches(name: str, batch_size: Any, pac: Any) -> dict[str, int | None]:
    """The size of a batch, and into how many rows packs divide it (Lin et al., PacGAN, 2018).

    Raises:
        RecipeError: They don't divide.
    """
    packed = whole(name, "pac", pac)
    if batch_size is None:
        return {"batch_size": None, "pac": packed}
    size = whole(name, "batch_size", batch_size, least=2)
    if size % 2 or size % packed:
        raise RecipeError(
            f"generator {name!r}: a batch_size of {size} is odd, or no multiple of the pac, {packed}",
            "use a batch_size such as 500 with a pac of 10",
        )
    return {"batch_size": size, "pac": packed}


def distribution(name: str, value: Any) -> str:
    """The distribution of numbers in a copula; one that would keep the rows themselves is refused.

    Raises:
        RecipeError: There is none of that name, or it keeps rows.
    """
    if value == "gaussian_kde":
        raise RecipeError(
            f"generator {name!r}: the distribution gaussian_kde keeps the rows themselves in the model",
            f"use one of {', '.join(_DISTRIBUTIONS)}",
        )
    if value not in _DISTRIBUTIONS:
        hint = did_you_mean(str(value), _DISTRIBUTIONS)
        raise RecipeError(
            f"generator {name!r} has no distribution {str(value)!r}{hint}", f"use one of {', '.join(_DISTRIBUTIONS)}"
        )
    return str(value)


def rates(name: str, **given: Any) -> Mapping[str, float]:
    """Settings that are numbers above 0."""
    return {key: positive(name, key, value) for key, value in given.items()}
