"""A gate report in few numbers, for those who count and compare them; names and numbers, never values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from synth_ops.artifacts import Evidence, GateReport, Outcome, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The checks whose names begin alike: `integrity`, `fidelity`, `privacy`, `suite`, ...

    Attributes:
        checks: How many were judged.
        failed: How many of them block the copy.
        warnings: How many more were not met.
    """

    name: str
    checks: int
    failed: int
    warnings: int
    outcomes: tuple[Outcome, ...] = field(repr=False)

    def counts(self) -> dict[str, int]:
        """The numbers, as JSON."""
        return {"checks": self.checks, "failed": self.failed, "warnings": self.warnings}


def families(report: GateReport, expected: Iterable[str] = ()) -> dict[str, Family]:
    """A report's outcomes by family, each of the `expected` ones among them even where nothing was judged."""
    grouped: dict[str, list[Outcome]] = {name: [] for name in expected}
    for outcome in report.outcomes:
        grouped.setdefault(outcome.evidence.check.partition(".")[0], []).append(outcome)
    return {name: _family(name, outcomes) for name, outcomes in grouped.items()}


def scores(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """The worst value of each measure, by its name; one that is not finite is left out."""
    worst: dict[str, float] = {}
    for outcome in outcomes:
        evidence = outcome.evidence
        if evidence.value - evidence.value != 0:
            continue
        before = worst.get(evidence.check, evidence.value)
        worst[evidence.check] = (
            min(before, evidence.value) if _more_is_better(evidence) else max(before, evidence.value)
        )
    return dict(sorted(worst.items()))


def summary(report: GateReport) -> dict[str, Any]:
    """The verdict as JSON: counts in all and by family, and the scores."""
    blocking = sorted({f"{o.evidence.check}[{o.evidence.subject}]" for o in report.failures})
    shown = ", ".join(blocking[:5]) + (f" and {len(blocking) - 5} more" if len(blocking) > 5 else "")  # noqa: PLR2004
    return {
        "verdict": report.verdict,
        "blocked_by": shown or ("" if report.outcomes else "no evidence"),
        "checks": len(report.outcomes),
        "failed": len(report.failures),
        "warnings": sum(not outcome.passed for outcome in report.outcomes) - len(report.failures),
        "families": {name: family.counts() for name, family in families(report).items()},
        "scores": scores(report.outcomes),
    }


def _family(name: str, outcomes: list[Outcome]) -> Family:
    unmet = [outcome for outcome in outcomes if not outcome.passed]
    failed = sum(outcome.evidence.severity is Severity.CRITICAL for outcome in unmet)
    return Family(
        name=name, checks=len(outcomes), failed=failed, warnings=len(unmet) - failed, outcomes=tuple(outcomes)
    )


def _more_is_better(evidence: Evidence) -> bool:
    return evidence.minimum is not None and evidence.maximum is None
