"""The nearest neighbours of rows among other rows: exact, compiled, in float32 and a few bytes a point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float32]
MISMATCH = 0.5
"""How far two categories are apart; numbers are at most 1 apart."""


def nearest(
    points: Points, others: Points, categories: npt.NDArray[np.bool_], *, second: bool = False
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The nearest of the others to each point (Gower, 1971: a sum over columns).

    Numbers are ranks from 0 to 1, and count by their difference; categories count `MISMATCH` where they differ.

    Args:
        points: A row a point.
        others: The same columns.
        categories: Which columns hold categories. The fewest comparisons are made where the first column does not, and
            has many values.
        second: Whether the second nearest is looked for, too; it takes longer.

    Returns:
        The distance to the nearest, to the second nearest (else infinity), and the nearest one's place.
    """
    order = np.argsort(others[:, 0], kind="stable") if others.shape[1] else np.arange(len(others))
    ordered = np.ascontiguousarray(others[order], dtype=np.float32)
    found = _nearest(np.ascontiguousarray(points, dtype=np.float32), ordered, categories, second)
    first, following, place = found
    return first, following, np.where(place >= 0, order[place], -1)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """With a cache on disk where there is a place for one."""
    try:
        return numba.njit(cache=True, parallel=True, nogil=True)(function)
    except RuntimeError:
        return numba.njit(parallel=True, nogil=True)(function)


@_compiled
def _nearest(points: Any, others: Any, categories: Any, second: Any) -> Any:
    """The others are in the order of their first column: outward from a point, it alone says when to stop."""
    rows, columns = others.shape
    first = np.empty(len(points), dtype=np.float32)
    following = np.empty(len(points), dtype=np.float32)
    places = np.empty(len(points), dtype=np.int64)
    for number in numba.prange(len(points)):
        point = points[number]
        start = np.searchsorted(others[:, 0], point[0])
        best, next_best, place = np.float32(np.inf), np.float32(np.inf), -1
        for step in (1, -1):
            row = start if step == 1 else start - 1
            while 0 <= row < rows:
                bound = next_best if second else best
                if not categories[0] and abs(others[row, 0] - point[0]) >= bound:
                    break
                distance = np.float32(0)
                for column in range(columns):
                    if categories[column]:
                        distance += np.float32(MISMATCH) * (others[row, column] != point[column])
                    else:
                        distance += abs(others[row, column] - point[column])
                    if distance >= bound:
                        break
                if distance < best:
                    best, next_best, place = distance, best, row
                elif distance < next_best:
                    next_best = distance
                row += step
        first[number], following[number], places[number] = best, next_best, place
    return first, following, places
