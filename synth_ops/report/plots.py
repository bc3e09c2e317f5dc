"""SVG paths of histograms: a filled outline for the real data, a line for the copy."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 240, 72
"""Of a plot, in SVG units."""


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


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
