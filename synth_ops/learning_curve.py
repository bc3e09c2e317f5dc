"""How a model learned: losses and such by epoch, which a generator may leave in its model's folder, for reports."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

_FILE = "learning.json"
_MOST_POINTS, _LONGEST_NAME = 200, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    """How the model of one table learned; names and numbers, never values.

    Attributes:
        table: Its name.
        epochs: How many passes over the data it took.
        planned: How many it might have taken.
        kept: After which one the state was that is used; 0 where it is the last.
        lines: Epoch and value of each point, by what was measured: `loss`, `distance`, ...
    """

    table: str
    epochs: int
    planned: int
    kept: int = 0
    lines: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Leave it beside the model."""
        (folder / _FILE).write_text(json.dumps(asdict(self), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `asdict` makes of it: a few hundred finite points, whatever wrote them.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: It is no such thing.
        """
        lines = {str(name)[:_LONGEST_NAME]: _thinned(points) for name, points in document["lines"].items()}
        return cls(
            table=str(document["table"]),
            epochs=int(document["epochs"]),
            planned=int(document["planned"]),
            kept=int(document["kept"]),
            lines={name: points for name, points in lines.items() if points},
        )


def learning_curves(folder: Path) -> list[LearningCurve]:
    """Those that a model's generators left below its folder; a file that is none is left out."""
    found = []
    for file in sorted(folder.rglob(_FILE)):
        try:
            found.append(LearningCurve.from_json(json.loads(file.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
    return found


def _thinned(points: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """So many points, the first and the last among them.

    >>> _thinned([(1, 0.5), (2, math.nan)])
    [(1.0, 0.5)]
    """
    known = [(float(epoch), float(value)) for epoch, value in points]
    known = [point for point in known if all(map(math.isfinite, point))]
    step = math.ceil(len(known) / _MOST_POINTS) or 1
    return [*known[:-1:step], *known[-1:]]
