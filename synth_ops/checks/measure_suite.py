"""The limits of all measures as one Great Expectations suite over the evidence, to be read and edited as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synth_ops.checks.suites import Suite
from synth_ops.errors import RecipeError
from synth_ops.ports import Threshold

LIMITS_FILE = "gate limits.json"
"""No table's file: a table's name is percent-encoded there."""
_MARK = "limits_of_measures"
_EXPECTATION = "expect_column_max_to_be_between"
_LEVELS = {"warning": "warn", "critical": "block"}


def export_limits(thresholds: Mapping[str, Threshold], folder: Path) -> Path:
    """Write the limits of all measures as a suite: a column is a measure, a row would be a copy.

    Args:
        thresholds: By measure.
        folder: Exists.
    """
    expectations = [
        {
            "type": _EXPECTATION,
            "kwargs": {"column": name, "max_value" if each.at_most else "min_value": getattr(each, level)},
            "severity": severity,
        }
        for name, each in sorted(thresholds.items())
        for severity, level in _LEVELS.items()
        if getattr(each, level) is not None
    ]
    suite = {"name": "gate limits", "expectations": expectations, "meta": {"synth_ops": {_MARK: True}}}
    path = folder / LIMITS_FILE
    path.write_text(json.dumps(suite, indent=2) + "\n", encoding="utf-8")
    return path


def split_off_limits(suites: Mapping[str, Suite]) -> tuple[dict[str, Suite], dict[str, dict[str, float]]]:
    """Part suites about tables from those that hold the limits of measures.

    Returns:
        The former, and the latter's limits, by measure and level (`warn`, `block`).

    Raises:
        RecipeError: An expectation there is not a limit, or two of them contradict each other.
    """
    about_tables: dict[str, Suite] = {}
    limits: dict[str, dict[str, float]] = {}
    for name, suite in suites.items():
        if not suite["meta"]["synth_ops"].get(_MARK):
            about_tables[name] = suite
            continue
        for number, expectation in enumerate(suite["expectations"], start=1):
            measure, level, limit = _limit(expectation, where=f"suite {name}: expectation {number}")
            if limits.setdefault(measure, {}).setdefault(level, limit) != limit:
                raise RecipeError(f"suite {name}: {measure!r} has two different limits to {level} at")
    return about_tables, limits


def _limit(expectation: Mapping[str, Any], *, where: str) -> tuple[str, str, float]:
    kwargs = expectation["kwargs"]
    found = [kwargs[side] for side in ("max_value", "min_value") if kwargs.get(side) is not None]
    level = _LEVELS.get(expectation.get("severity", "critical"))
    if expectation["type"] != _EXPECTATION or len(found) != 1 or level is None or "column" not in kwargs:
        raise RecipeError(
            f"{where} is no limit of a measure",
            f"it takes the form of `synth-ops suite`: {_EXPECTATION} with `column` and one of max_value, min_value, "
            "and a severity, warning or critical",
        )
    return str(kwargs["column"]), level, float(found[0])
