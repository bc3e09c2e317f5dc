"""Distances between two samples of a column, or of a pair of columns; NumPy only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]

NULL_CODE = 0
_SIGMAS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """A column of both databases as small integers.

    Attributes:
        source, copy: A code a row; 0 is NULL, the last one is what too few subjects of the source have.
        cells: How many codes there are.
    """

    source: Codes
    copy: Codes
    cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far two samples are apart, from 0 to 1.

    Attributes:
        value: The distance.
        allowance: What two samples of these sizes, from one population, hardly ever exceed.
        n: The smaller sample's size.
        margin: Half of the 95 % confidence interval, to either side of the value.
        bias: How far samples are apart on average whose populations are not: so much more to the lower side.
    """

    value: float
    allowance: float
    n: int
    margin: float = 0.0
    bias: float = 0.0

    @property
    def low(self) -> float:
        """The lower end of the confidence interval."""
        return max(self.value - self.bias - self.margin, 0.0)

    @property
    def high(self) -> float:
        """Its upper end."""
        return min(self.value + self.margin, 1.0)


def total_variation(coded: Coded, size: float) -> Distance | None:
    """Half the sum of the differences between the shares of all codes.

    What too few subjects have, a generator may replace by anything: by rare values of its own, or by known ones.

    Args:
        coded: The column, or pair.
        size: How many independent draws the noisier of the samples amounts to.

    Returns:
        None when the source has no value that may be learned.
    """
    n, m = len(coded.source), len(coded.copy)
    expected = np.bincount(coded.source, minlength=coded.cells) / max(n, 1)
    if not n or (expected[-1] and not expected[1:-1].any()):
        return None
    if not m:
        return Distance(value=1.0, allowance=0.0, n=0)
    seen = np.bincount(coded.copy, minlength=coded.cells) / m
    rare = min(expected[-1], seen[-1])
    known = expected[1:-1].sum()
    if known:
        expected[1:-1] *= (known + expected[-1] - rare) / known
    expected[-1] = rare
    bias = float(np.sqrt(expected).sum()) / math.sqrt(math.pi * size)
    return Distance(
        value=float(np.abs(expected - seen).sum()) / 2,
        allowance=bias + _SIGMAS / math.sqrt(size),
        n=min(n, m),
        margin=_margin(size),
        bias=bias,
    )


def _margin(size: float) -> float:
    """How far a distance between two samples of so many is off, in 95 of 100 cases at most.

    The bound of Dvoretzky, Kiefer and Wolfowitz (1956) on distribution functions, which is McDiarmid's (1989) for what
    a single row can change by no more than its share.
    """
    return math.sqrt(math.log(2 / 0.05) / size)


def common_size(n: float, m: float) -> float:
    """The size of two equal samples that are as noisy as these, compared with each other; 1 when one is empty.

    >>> common_size(100, 300)
    150.0
    """
    return 2 / (1 / n + 1 / m) if n and m else 1.0


def rare_share(coded: Coded) -> float:
    """The share of the source's rows that hold a value which too few subjects have."""
    return float(np.mean(coded.source == coded.cells - 1)) if len(coded.source) else 0.0


def pair(first: Coded, second: Coded) -> Coded:
    """Two columns as one: a cell a combination; a combination that holds a rare value is rare."""
    cells = (first.cells - 1) * (second.cells - 1)

    def joined(one: Codes, other: Codes) -> Codes:
        rare = (one == first.cells - 1) | (other == second.cells - 1)
        return np.where(rare, cells, one * (second.cells - 1) + other)

    return Coded(source=joined(first.source, second.source), copy=joined(first.copy, second.copy), cells=cells + 1)


def kolmogorov_smirnov(source: Values, copy: Values, size: float) -> Distance:
    """The largest difference between two distribution functions; NaN stands for NULL and lies below all numbers.

    Args:
        source, copy: Numbers.
        size: How many independent draws the noisier of the samples amounts to.
    """
    if not len(copy):
        return Distance(value=1.0, allowance=0.0, n=0)
    one, other = _sorted(source), _sorted(copy)
    points = np.concatenate([one, other])
    left = np.searchsorted(one, points, side="right") / len(one)
    right = np.searchsorted(other, points, side="right") / len(other)
    return Distance(
        value=float(np.abs(left - right).max()),
        allowance=(_SIGMAS + 1) / math.sqrt(size),
        n=min(len(one), len(other)),
        margin=_margin(size),
    )


def histogram_distance(source: Mapping[float, int], copy: Mapping[float, int]) -> Distance:
    """The Kolmogorov-Smirnov distance of two histograms (how often each number occurs)."""
    n, m = sum(source.values()), sum(copy.values())
    if not n or not m:
        return Distance(value=float(n != m), allowance=0.0, n=0)
    points = sorted({*source, *copy})
    left = np.cumsum([source.get(point, 0) for point in points]) / n
    right = np.cumsum([copy.get(point, 0) for point in points]) / m
    size = common_size(n, m)
    return Distance(
        value=float(np.abs(left - right).max()),
        allowance=(_SIGMAS + 1) / math.sqrt(size),
        n=min(n, m),
        margin=_margin(size),
    )


def binned(source: Values, copy: Values, bins: int) -> Coded:
    """Numbers by the source's quantiles; none of them is rare."""
    known = np.sort(source[~np.isnan(source)])
    edges = np.unique(known[len(known) * np.arange(1, bins) // bins]) if len(known) else known

    def codes(values: Values) -> Codes:
        found = np.searchsorted(edges, values, side="left") + 1
        return np.where(np.isnan(values), NULL_CODE, found).astype(np.int64)

    return Coded(source=codes(source), copy=codes(copy), cells=len(edges) + 3)


def categorised(source: Any, copy: Any, known: Any, most: int) -> Coded:
    """Categories by their frequency.

    Args:
        source, copy: Arrow arrays of strings.
        known: An Arrow array of the values that enough rows of the source have, the most frequent first.
        most: How many of them get a code of their own; the rest of them share one.
    """
    return Coded(source=_category_codes(source, known, most), copy=_category_codes(copy, known, most), cells=most + 3)


def _category_codes(values: Any, known: Any, most: int) -> Codes:
    import pyarrow.compute as pc

    places = pc.index_in(values, value_set=known).to_numpy(zero_copy_only=False).astype(float)
    codes = np.where(np.isnan(places), most + 2, np.minimum(places, most) + 1).astype(np.int64)
    return np.where(values.is_null().to_numpy(zero_copy_only=False), NULL_CODE, codes)


def _sorted(values: Values) -> Values:
    return np.sort(np.where(np.isnan(values), -np.inf, values))
