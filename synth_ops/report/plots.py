"""Plots as SVG paths: histograms, lines over nights, heat maps; and strips of a value within its limits."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT = 240, 72
"""Of a histogram, in SVG units."""
LINE_WIDTH, LINE_HEIGHT = 240, 48
"""Of a line over nights."""
_LEVELS = 10
_MARGIN = 0.12


def outline(edges: Sequence[float], shares: Sequence[float], peak: float, *, closed: bool) -> str:
    """The steps of a histogram as an SVG path.

    Args:
        edges: Where bins begin and end, from 0 to 1.
        shares: How much each bin holds; wider bins are drawn lower.
        peak: The density that touches the top.
        closed: Whether the path returns along the axis, to be filled.

    >>> outline([0, 0.5, 1], [0.5, 0.5], 1.0, closed=True)
    'M0 72V0H120V0H240V72Z'
    """
    steps = "".join(
        f"V{_number(HEIGHT - HEIGHT * min(density / peak, 1))}H{_number(WIDTH * end)}"
        for end, density in zip(edges[1:], densities(edges, shares), strict=True)
    )
    start = f"M{_number(WIDTH * edges[0])} {HEIGHT}"
    return f"{start}{steps}V{HEIGHT}" + ("Z" if closed else "")


def densities(edges: Sequence[float], shares: Sequence[float]) -> list[float]:
    """How high every bin stands: its share by its width."""
    return [share / (end - begin) for begin, end, share in zip(edges[:-1], edges[1:], shares, strict=True)]


def line(values: Sequence[float], low: float, high: float) -> list[tuple[float, float]]:
    """Where the points of a line over nights lie; the newest at the right end.

    >>> line([0.0, 1.0], 0.0, 1.0)
    [(0.0, 48.0), (240.0, 0.0)]
    """
    span = high - low or 1.0
    step = LINE_WIDTH / max(len(values) - 1, 1)
    return [
        (round(i * step, 1), round(LINE_HEIGHT - LINE_HEIGHT * (value - low) / span, 1))
        for i, value in enumerate(values)
    ]


def path(points: Sequence[tuple[float, float]]) -> str:
    """A line through points.

    >>> path([(0.0, 48.0), (240.0, 0.5)])
    'M0 48L240 0.5'
    """
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)


def heat_map(real: Sequence[Sequence[float]], copy: Sequence[Sequence[float]]) -> list[tuple[int, str]]:
    """One picture of two symmetric matrices: the real one below the diagonal, the copy's above it.

    Args:
        real, copy: Values from 0 to 1.

    Returns:
        A level from 0 to 10 and the path of all cells that have it, in units of a cell.

    >>> heat_map([[1, 0.52], [0.52, 1]], [[1, 0], [0, 1]])
    [(0, 'M1 0h1v1h-1z'), (5, 'M0 1h1v1h-1z')]
    """
    cells: dict[int, list[str]] = defaultdict(list)
    for row in range(len(real)):
        for column in range(len(real)):
            if row != column:
                value = (real if row > column else copy)[row][column]
                cells[round(value * _LEVELS)].append(f"M{column} {row}h1v1h-1z")
    return [(level, "".join(parts)) for level, parts in sorted(cells.items())]


def strip(evidence: Mapping[str, Any], softer: Mapping[str, Any] | None = None) -> dict[str, float] | None:
    """Where a value, its interval and its limits lie on a common axis, in percent of its length.

    Args:
        evidence: The value and its limits.
        softer: The limits from which on it warns, where those of `evidence` block.

    Returns:
        `value`; `low` and `high`, the ends of what is allowed; `soft_low` and `soft_high`, of what is allowed without
        a warning; `ci_low` and `ci_high`, `reference`, where there are any. None where there is nothing to draw.

    >>> strip({"value": 0.1, "ci_low": None, "ci_high": None, "minimum": None, "maximum": 0.2})
    {'value': 44.6, 'low': 0.0, 'high': 89.3, 'soft_low': 0.0, 'soft_high': 89.3}
    """
    known = _finite(evidence, ("value", "ci_low", "ci_high", "reference", "minimum", "maximum"))
    soft = _finite(softer, ("minimum", "maximum")) if softer else known
    if "value" not in known or not {"minimum", "maximum"} & {*known, *soft}:
        return None
    points = [*known.values(), *soft.values()]
    low, high = min(points), max(points)
    margin = (high - low) * _MARGIN
    start = 0.0 if low >= 0 and "minimum" not in {*known, *soft} else low - margin
    end = high * (1 + _MARGIN) if start == 0 else high + margin
    if end <= start:
        return None

    def place(value: float) -> float:
        return round(100 * (value - start) / (end - start), 1)

    ends = {
        "low": place(known.get("minimum", start)),
        "high": place(known.get("maximum", end)),
        "soft_low": place(soft.get("minimum", start)),
        "soft_high": place(soft.get("maximum", end)),
    }
    marks: dict[str, float] = {name: place(known[name]) for name in ("ci_low", "ci_high", "reference") if name in known}
    return {"value": place(known["value"]), **ends, **marks}


def _finite(evidence: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    found = {name: float(evidence[name]) for name in names if evidence.get(name) is not None}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
