"""Whether a rule holds in all rows of a sample, and not by chance."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FEWEST_ROWS = 20
_SURPRISE = 30.0
"""Minus the logarithm of the probability by chance: about 1e-13, for the many rules that are tried."""
_SHUFFLES = 4

Floats = npt.NDArray[np.float64]


def agrees(values: Floats, expected: Floats, tolerance: float) -> bool:
    """Whether values are as expected wherever both are known, which they would not be were they independent."""
    known = np.isfinite(values) & np.isfinite(expected)
    ours, theirs = values[known], expected[known]
    if len(ours) < FEWEST_ROWS or (np.abs(ours - theirs) > tolerance).any():
        return False
    return _is_no_chance(np.abs(np.tile(ours, _SHUFFLES) - _shuffled(theirs)) <= tolerance)


def never_below(values: Floats, bounds: Floats) -> bool:
    """Whether values are at least as high as bounds wherever both are known, which is more than their ranges say."""
    known = np.isfinite(values) & np.isfinite(bounds)
    ours, theirs = values[known], bounds[known]
    if len(ours) < FEWEST_ROWS or (ours < theirs).any():
        return False
    return _is_no_chance(np.tile(ours, _SHUFFLES) >= _shuffled(theirs))


def _is_no_chance(holds_when_shuffled: npt.NDArray[np.bool_]) -> bool:
    """Whether a rule that holds in all rows would be most unlikely to, were its two sides independent."""
    rows = len(holds_when_shuffled) // _SHUFFLES
    share = (float(holds_when_shuffled.sum()) + 1) / (len(holds_when_shuffled) + 1)
    return -rows * math.log(share) > _SURPRISE


def _shuffled(values: Floats) -> Floats:
    """The values in other orders, one after the other, always the same ones for so many values."""
    generator = np.random.default_rng(len(values))
    return np.concatenate([values[generator.permutation(len(values))] for _ in range(_SHUFFLES)])
