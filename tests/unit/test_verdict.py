"""A verdict in few numbers: what is counted, which value is the worst, and what of it may travel."""

from __future__ import annotations

import math
import pickle

import pytest

from synth_ops.artifacts import ArtifactKind, ArtifactRef, Evidence, GateReport, Outcome, Severity
from synth_ops.errors import GateFailedError
from synth_ops.verdict import families, scores, summary

COPY = ArtifactRef(kind=ArtifactKind.COPY, id="c" * 20)


def outcome(check, value, passed, severity=Severity.CRITICAL, **limits):
    limits = limits or {"maximum": 0.5}
    evidence = Evidence(check=check, subject="t.c", value=value, n=9, severity=severity, detail="Ada", **limits)
    return Outcome(evidence=evidence, passed=passed)


@pytest.fixture
def report():
    outcomes = (
        outcome("fidelity.distance", 0.2, passed=True),
        outcome("fidelity.distance", 0.7, passed=False),
        outcome("fidelity.distance", 0.6, passed=False, severity=Severity.WARNING),
        outcome("privacy.near", 0.9, passed=True, minimum=0.4),
        outcome("privacy.near", 0.5, passed=True, minimum=0.4),
        outcome("privacy.error", math.nan, passed=False, maximum=0.0),
    )
    ref = ArtifactRef(kind=ArtifactKind.REPORT, id="r" * 20)
    return GateReport(ref=ref, copy=COPY, verdict="failed", outcomes=outcomes)


def test_families_count_and_the_expected_ones_are_there(report):
    counted = {name: family.counts() for name, family in families(report, expected=["integrity"]).items()}
    assert counted == {
        "integrity": {"checks": 0, "failed": 0, "warnings": 0},
        "fidelity": {"checks": 3, "failed": 1, "warnings": 1},
        "privacy": {"checks": 3, "failed": 1, "warnings": 0},
    }


def test_the_score_of_a_measure_is_its_worst_finite_value(report):
    assert scores(report.outcomes) == {"fidelity.distance": 0.7, "privacy.near": 0.5}


def test_the_summary_is_json_that_counts_everything_once(report):
    told = summary(report)
    assert (told["verdict"], told["checks"], told["failed"], told["warnings"]) == ("failed", 6, 2, 1)
    for number in ("checks", "failed", "warnings"):
        assert sum(family[number] for family in told["families"].values()) == told[number]
    assert told["blocked_by"] == "fidelity.distance[t.c], privacy.error[t.c]"


def test_no_evidence_blocks(report):
    nothing = GateReport(ref=report.ref, copy=COPY, verdict="failed")
    assert summary(nothing)["blocked_by"] == "no evidence"


def test_a_failed_gate_takes_its_numbers_along_to_another_process(report):
    error = GateFailedError("failed", "see it", report_id="r", facts=summary(report))
    there = pickle.loads(pickle.dumps(error))
    assert (str(there), there.report_id, there.facts) == (str(error), "r", summary(report))
