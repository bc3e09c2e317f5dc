"""How much of its limit a number uses, and what a night's numbers come to, check by check."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

Judged = Sequence[Mapping[str, Any]]
"""The `outcomes` of a report's document."""

_OVER = 9.99
"""More is not told apart: an exact limit is overrun without end by the first violation."""


def used(evidence: Mapping[str, Any]) -> float:
    """How much of what its limits allow a number uses: 0 nothing, 1 all of it, more when it is beyond.

    Counted from what fresh real data would give, where the evidence says what that is.

    >>> used({"value": 0.1, "minimum": None, "maximum": 0.2}), used({"value": 0.95, "minimum": 0.9, "maximum": None})
    (0.5, 0.5)
    >>> used({"value": 104, "minimum": 90, "maximum": 110}), used({"value": 3, "minimum": None, "maximum": 0})
    (0.4, 9.99)
    >>> used({"value": 0.6, "minimum": None, "maximum": 0.7, "reference": 0.5})
    0.5
    """
    value, low, high = float(evidence["value"]), _limit(evidence["minimum"]), _limit(evidence["maximum"])
    reference = _limit(evidence.get("reference"))
    if not math.isfinite(value):
        return _OVER
    limit = high if low is None else low if high is None else None
    if reference is not None and limit is not None and math.isfinite(reference) and reference != limit:
        return _ratio((value - reference) / (limit - reference), 1.0)
    if low is not None and high is not None:
        middle, half = (low + high) / 2, (high - low) / 2
        return _ratio(abs(value - middle), half)
    if high is not None:
        return _ratio(max(value, 0.0), high)
    if low is None:
        return 0.0
    return _ratio(max(1 - value, 0.0), 1 - low) if low < 1 else _ratio(low, value)


def night_scores(outcomes: Judged) -> dict[str, dict[str, float]]:
    """By check: the mean value, the mean limit and how much of it is used, over everything it was measured on.

    Left out are checks that allow nothing at all, which pass or fail the night, and bands around a size of the source.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for outcome in outcomes:
        evidence = outcome["evidence"]
        is_band = evidence["minimum"] is not None and evidence["maximum"] is not None
        if math.isfinite(float(evidence["value"])) and not is_exact(evidence) and not is_band:
            groups[evidence["check"], evidence["severity"]].append(evidence)
    worst = {check: group for (check, _), group in sorted(groups.items(), reverse=True)}  # critical limits go first
    return {check: _score(group) for check, group in sorted(worst.items())}


def is_exact(evidence: Mapping[str, Any]) -> bool:
    """Whether the limit is none at all: a count that must be 0, or nothing that judges."""
    low, high = _limit(evidence["minimum"]), _limit(evidence["maximum"])
    return low is None and not high


def alerts(
    past: Sequence[Mapping[str, Any]], scores: Mapping[str, Mapping[str, float]], drop: float
) -> list[dict[str, Any]]:
    """The checks that moved towards their limits since the last night that passed.

    Args:
        past: Nights, oldest first.
        scores: Of the night to look at.
        drop: From how large a move on, as a share of what the limit allows.
    """
    good = next((night for night in reversed(past) if night["verdict"] == "passed"), None)
    if good is None:
        return []
    found = []
    for check, score in scores.items():
        before = good["scores"].get(check)
        if before and score["used"] - before["used"] >= drop:
            found.append({"check": check, "before": before, "now": dict(score), "since": good["at"]})
    return sorted(found, key=lambda alert: alert["before"]["used"] - alert["now"]["used"])


def _score(group: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    limits = [_limit(each["maximum"] if each["maximum"] is not None else each["minimum"]) or 0.0 for each in group]
    return {
        "value": round(_mean([float(each["value"]) for each in group]), 6),
        "limit": round(_mean(limits), 6),
        "used": round(_mean([used(each) for each in group]), 6),
        "measured": len(group),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _limit(value: Any) -> float | None:
    return None if value is None else float(value)


def _ratio(part: float, whole: float) -> float:
    if part <= 0:
        return 0.0
    return round(min(part / whole, _OVER), 6) if whole > 0 else _OVER
