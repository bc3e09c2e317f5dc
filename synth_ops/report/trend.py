"""Every check over the past nights, as lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth_ops.report import plots, words
from synth_ops.report.context import Context
from synth_ops.report.scores import alerts


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One check over the nights."""

    title: str
    path: str
    points: Sequence[tuple[float, float, bool]]
    limit: float | None
    now: str
    summary: str
    alert: bool


def lines(context: Context, now: Mapping[str, Mapping[str, float]], verdict: str) -> list[Line]:
    """Every check over the nights, what uses most of its limit first; nothing before the second night."""
    if not context.nights:
        return []
    alerted = {alert["check"] for alert in alerts(context.nights, now, context.drop)}
    nights = [*context.nights, {"scores": now, "verdict": verdict}]
    order = sorted(now, key=lambda check: (check not in alerted, -now[check]["used"], check))
    return [_line(check, nights, alert=check in alerted) for check in order]


def _line(check: str, nights: Sequence[Mapping[str, Any]], *, alert: bool) -> Line:
    measured = [(night["scores"][check], night["verdict"]) for night in nights if check in night["scores"]]
    values = [score["value"] for score, _ in measured]
    limit = measured[-1][0]["limit"]
    low, high = min(*values, 0.0, 0.0), max(*values, 1e-9, 1e-9)
    near = limit <= high * 2 and math.isfinite(limit)  # a limit far above would press the line flat
    low, high = (min(low, limit), max(high, limit)) if near else (low, high)
    points = plots.line(values, low, high * 1.05)
    level = plots.line([limit], low, high * 1.05)[0][1] if near else None
    now = f"{words.number(values[-1])}, limit {words.number(limit)}"
    return Line(
        title=words.title(check),
        path=plots.path(points),
        points=[(x, y, verdict == "passed") for (x, y), (_, verdict) in zip(points, measured, strict=True)],
        limit=level,
        now=now,
        summary=f"{words.title(check)} over {len(values)} nights: from {words.number(values[0])} to {now}",
        alert=alert,
    )
