"""Shares, areas under curves and their noise, in closed form: the same numbers give the same answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]
Z = 1.96
"""Of a 95 % confidence interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number and its noise.

    Attributes:
        noise: The standard error.
        n: Independent units: rows, or subjects where rows hang together.
    """

    value: float
    noise: float
    n: int

    @property
    def low(self) -> float:
        """The lower end of the 95 % confidence interval."""
        return self.value - Z * self.noise

    @property
    def high(self) -> float:
        """Its upper end."""
        return self.value + Z * self.noise


def area_under_curve(positive: Values, negative: Values) -> float:
    """The chance that a positive scores higher than a negative, ties counting half (Mann and Whitney, 1947)."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left") + np.searchsorted(ordered, positive, side="right")
    return float(below.mean() / 2 / len(negative))


def auc_noise(auc: float, positives: int, negatives: int) -> float:
    """The standard error of an area under a curve (Hanley and McNeil, 1982).

    >>> round(auc_noise(0.5, 100, 100), 4)
    0.0409
    """
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (first - auc**2) + (negatives - 1) * (second - auc**2)
    return math.sqrt(max(variance, 0.0) / (positives * negatives))


def true_positive_rate(positive: Values, negative: Values, false_positive_rate: float = 0.01) -> float:
    """The share of positives above the score that only a given share of negatives exceeds; between scores, linear.

    >>> true_positive_rate(np.arange(50.0, 150.0), np.arange(100.0))
    0.51
    """
    scores = np.unique(np.concatenate([positive, negative]))[::-1]
    false, true = (
        np.concatenate([[0.0], (len(each) - np.searchsorted(np.sort(each), scores, side="left")) / len(each)])
        for each in (negative, positive)
    )
    last = np.searchsorted(false, false_positive_rate, side="right") - 1
    if last + 1 == len(false):
        return float(true[last])
    share = (false_positive_rate - false[last]) / (false[last + 1] - false[last])
    return float(true[last] + share * (true[last + 1] - true[last]))


def share_interval(share: float, n: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share of `n`; of small counts it is never nil.

    >>> share_interval(0.0, 100)
    (0.0, 0.0196)
    """
    noise = math.sqrt(max(share * (1 - share), 1 / n) / n)
    return max(share - Z * noise, 0.0), min(share + Z * noise, 1.0)


def share_difference(one: int, ones: int, other: int, others: int) -> Estimate:
    """The difference of two shares; of small counts the noise is never nil (Agresti and Caffo, 2000)."""
    smooth = [(count + 1) / (total + 2) for count, total in ((one, ones), (other, others))]
    variance = sum(share * (1 - share) / (total + 2) for share, total in zip(smooth, (ones, others), strict=True))
    return Estimate(value=one / ones - other / others, noise=math.sqrt(variance), n=ones + others)
