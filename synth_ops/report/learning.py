"""How models learned: their losses by epoch, as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth_ops.report import plots, words
from synth_ops.report.context import Context

_MOST = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One measure of one model, over its epochs.

    Attributes:
        path: The line, as in `plots.line`.
        kept: Where the state lies on it that is used; None where it is the last one.
    """

    title: str
    summary: str
    path: str
    kept: tuple[float, float] | None


def curves(context: Context) -> list[Curve]:
    """Every line of every model that learned in epochs, the distances of rows first; so many at most."""
    found = [
        (name != "distance", _curve(document, name, points))
        for document in context.learning
        for name, points in document["lines"].items()
        if len(points) > 1
    ]
    return [curve for _, curve in sorted(found, key=lambda each: each[0])][:_MOST]


def _curve(document: Mapping[str, Any], name: str, points: Sequence[tuple[float, float]]) -> Curve:
    values = [value for _, value in points]
    low, high = min(*values, 0.0), max(values)
    first, last = points[0][0], points[-1][0]
    places = [
        (round(plots.LINE_WIDTH * (epoch - first) / (last - first or 1.0), 1), height)
        for (epoch, _), (_, height) in zip(points, plots.line(values, low, high or 1.0), strict=True)
    ]
    kept = next((place for place, (epoch, _) in zip(places, points, strict=True) if epoch == document["kept"]), None)
    used = f"; that of epoch {document['kept']} is used" if document["kept"] else ""
    done = f"{document['epochs']} of {document['planned']} epochs"
    return Curve(
        title=f"{document['table']}: {name}",
        summary=f"{words.number(values[0])} to {words.number(values[-1])} in {done}{used}",
        path=plots.path(places),
        kept=kept,
    )
