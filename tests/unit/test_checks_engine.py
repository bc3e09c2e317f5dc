"""The door to Great Expectations: what is judged how, and that nothing else comes through it."""

from __future__ import annotations

import logging
import math

import pandas as pd
import pytest

from synth_ops.artifacts import Evidence, Severity
from synth_ops.checks.engine import judge, refuse_malformed, run_suite
from synth_ops.errors import RecipeError


def evidence(value, *, minimum=None, maximum=None, severity=Severity.CRITICAL, subject="t"):
    return Evidence(check="c", subject=subject, value=value, n=1, minimum=minimum, maximum=maximum, severity=severity)


def test_a_number_is_judged_by_its_limits_and_the_order_is_kept():
    given = [
        evidence(1, maximum=1),
        evidence(2, maximum=1),
        evidence(0.5, minimum=0.4),
        evidence(0.3, minimum=0.4),
        evidence(5, minimum=1, maximum=9, severity=Severity.WARNING),
    ]
    outcomes = judge(given)
    assert [outcome.passed for outcome in outcomes] == [True, False, True, False, True]
    assert [outcome.evidence for outcome in outcomes] == given


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_fails(value):
    assert not judge([evidence(value, maximum=1e9)])[0].passed
    assert not judge([evidence(value, minimum=-1e9)])[0].passed


def test_what_has_no_usable_limit_fails():
    outcomes = judge([evidence(0), evidence(0, maximum=math.inf), evidence(0, maximum=math.nan)])
    assert not any(outcome.passed for outcome in outcomes)


def test_the_same_subject_twice_is_judged_twice():
    outcomes = judge([evidence(0, maximum=1), evidence(2, maximum=1)])
    assert [outcome.passed for outcome in outcomes] == [True, False]


def test_no_evidence_gives_no_outcome():
    assert judge([]) == []


def test_a_users_expectations_run_on_rows():
    rows = pd.DataFrame({"a": [1, 2, 3, None], "b": ["x", "x", "y", "y"]})
    found = run_suite(
        [
            {"type": "expect_column_values_to_be_between", "kwargs": {"column": "a", "max_value": 2}},
            {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "b", "regex": "x", "mostly": 0.4}},
            {
                "type": "expect_column_median_to_be_between",
                "kwargs": {"column": "a", "max_value": 1},
                "severity": "warning",
            },
        ],
        rows,
        table="t",
        detail="on all rows",
    )
    assert [(each.check, each.subject, each.value, each.maximum) for each in found] == [
        ("suite.expect_column_values_to_be_between", "t.a", 1, 0),
        ("suite.expect_column_values_to_match_regex", "t.b", 0.5, 0.6),
        ("suite.expect_column_median_to_be_between", "t.a", 1, 0),
    ]
    assert found[2].severity is Severity.WARNING


def test_what_raises_inside_is_failed_evidence_without_values(caplog, capfd):
    rows = pd.DataFrame({"a": ["c4nary", 1]})
    with caplog.at_level(logging.DEBUG):
        found = run_suite(
            [
                {"type": "expect_column_values_to_be_between", "kwargs": {"column": "a", "max_value": 2}},
                {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "missing"}},
            ],
            rows,
            table="t",
            detail="",
        )
    assert all(math.isnan(each.value) for each in found)
    assert not any(outcome.passed for outcome in judge(found))
    shown = "".join(capfd.readouterr())
    assert "c4nary" not in caplog.text + shown + str(found)


@pytest.mark.parametrize(
    ("expectation", "part"),
    [
        ({"type": "expect_column_values_to_be_fine", "kwargs": {}}, "there is no such expectation"),
        ({"type": "expect_column_values_to_match_regex", "kwargs": {"colum": "a", "regex": "c4nary"}}, "column"),
    ],
)
def test_a_malformed_expectation_is_refused_by_name(expectation, part, caplog):
    with pytest.raises(RecipeError, match=r"mine\.json") as caught:
        refuse_malformed([expectation], where="mine.json")
    assert expectation["type"] in str(caught.value)
    assert part in str(caught.value)
    assert "c4nary" not in str(caught.value) + caplog.text
