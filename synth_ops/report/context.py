"""What is known around a report, and changes while the report itself does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Around one report.

    Attributes:
        recipe: The recipe's short name.
        source, target: Labels of the locations.
        at: When the copy was judged, ISO 8601, UTC.
        nights: Past nights, oldest first, without this one: `at`, `verdict`, `copy`, `scores` by check, ...
        drop: From how large a move towards its limit on a check is pointed out, as a share of what the limit allows.
        drift: How far the source moved since the snapshot before: `against`, and PSI by column; None if unknown.
        publication: `target`, `generation`, `published_at`; None before it was published.
        seconds: What the steps took.
        fell: Generators that the recipe names first and that failed: `generator` and `why`.
        learning: How models learned that do so in epochs: `table`, `epochs`, `planned`, `kept`, and `lines` by name.
    """

    recipe: str = ""
    source: str = ""
    target: str = ""
    at: str = ""
    nights: Sequence[Mapping[str, Any]] = ()
    drop: float = 0.2
    drift: Mapping[str, Any] | None = None
    publication: Mapping[str, Any] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    fell: Sequence[Mapping[str, Any]] = ()
    learning: Sequence[Mapping[str, Any]] = ()
