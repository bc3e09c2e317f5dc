from __future__ import annotations

import json

import pytest

from synth_ops.artifacts import Evidence, Severity
from synth_ops.checks.limits import SIGMAS, judged
from synth_ops.checks.measure_suite import LIMITS_FILE, export_limits, split_off_limits
from synth_ops.checks.suites import load_suites
from synth_ops.errors import RecipeError
from synth_ops.ports import Threshold
from synth_ops.recipe import GateRecipe
from synth_ops.steps.thresholds import resolve

DEFAULTS = {
    "privacy.attack": Threshold(warn=0.53, block=0.55),
    "privacy.leaks": Threshold(block=0.0),
    "fidelity.distance": Threshold(warn=0.2),
    "fidelity.likeness": Threshold(warn=0.95, block=0.9, at_most=False),
}
MEASURED = Evidence(check="privacy.attack", subject="t", value=0.5, n=10)


def resolved(edited=None, **gate):
    return resolve(DEFAULTS, GateRecipe(**gate), edited or {})


def test_nothing_asked_changes_nothing():
    assert resolved() == {}


def test_stricter_limits_need_no_word():
    assert resolved(thresholds={"privacy.attack": 0.54}) == {"privacy.attack": Threshold(warn=0.53, block=0.54)}
    assert resolved(thresholds={"fidelity.distance": 0.1}) == {"fidelity.distance": Threshold(warn=0.1)}
    found = resolved(warnings={"fidelity.likeness": 0.97}, thresholds={"fidelity.likeness": 0.93})
    assert found == {"fidelity.likeness": Threshold(warn=0.97, block=0.93, at_most=False)}


def test_what_blocks_sooner_than_it_warned_warns_there_too():
    assert resolved(thresholds={"privacy.attack": 0.51}) == {"privacy.attack": Threshold(warn=0.51, block=0.51)}
    found = resolved(thresholds={"fidelity.likeness": 0.99})
    assert found == {"fidelity.likeness": Threshold(warn=0.99, block=0.99, at_most=False)}


@pytest.mark.parametrize(
    "gate",
    [
        {"thresholds": {"privacy.attack": 0.6}},
        {"warnings": {"privacy.attack": 0.54}},
        {"thresholds": {"fidelity.likeness": 0.5}},
        {"thresholds": {"fidelity.distance": 0.3}},
        {"policy": "strict", "thresholds": {"privacy.attack": 0.54}},
        {"policy": "off-for-privacy"},
        {"policy": "off-for-privacy", "reason": "  "},
    ],
)
def test_laxer_limits_need_a_reason(gate):
    with pytest.raises(RecipeError, match=r"without a reason.*gate\.reason"):
        resolved(**gate)
    assert resolved(**{**gate, "reason": "public data"})


def test_a_strict_gate_blocks_where_the_standard_warns():
    assert resolved(policy="strict") == {
        "privacy.attack": Threshold(warn=0.53, block=0.53),
        "fidelity.distance": Threshold(warn=0.2, block=0.2),
        "fidelity.likeness": Threshold(warn=0.95, block=0.95, at_most=False),
    }


def test_without_privacy_nothing_of_it_blocks_and_all_of_it_is_shown():
    found = resolved(policy="off-for-privacy", reason="public data")
    assert found == {"privacy.attack": Threshold(warn=0.53), "privacy.leaks": Threshold(warn=0.0)}


@pytest.mark.parametrize(
    ("gate", "edited", "said"),
    [
        ({"thresholds": {"privacy.atack": 1}}, {}, "did you mean 'privacy.attack'"),
        ({"warnings": {"x": 1}}, {}, "no measure 'x'"),
        ({}, {"privacy.leeks": {"block": 1}}, "did you mean 'privacy.leaks'"),
        ({"thresholds": {"privacy.attack": 0.52}, "warnings": {"privacy.attack": 0.525}}, {}, "before it warns"),
        ({"thresholds": {"privacy.attack": 0.54}}, {"privacy.attack": {"block": 0.52}}, "two different limits"),
    ],
)
def test_contradictions_are_refused(gate, edited, said):
    with pytest.raises(RecipeError, match=said):
        resolved(edited, **gate)


def test_limits_go_to_a_file_and_back(tmp_path):
    export_limits(DEFAULTS, tmp_path)
    (tmp_path / "orders.json").write_text(json.dumps({"expectations": []}), encoding="utf-8")
    suites, limits = split_off_limits(load_suites([tmp_path]))
    assert list(suites) == ["orders.json"]
    assert resolved(limits) == {}
    document = json.loads((tmp_path / LIMITS_FILE).read_text(encoding="utf-8"))
    (attack,) = [e for e in document["expectations"] if e["kwargs"] == {"column": "privacy.attack", "max_value": 0.55}]
    attack["kwargs"]["max_value"] = 0.54
    (tmp_path / LIMITS_FILE).write_text(json.dumps(document), encoding="utf-8")
    _, limits = split_off_limits(load_suites([tmp_path]))
    assert resolved(limits) == {"privacy.attack": Threshold(warn=0.53, block=0.54)}


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "expect_column_to_exist", "kwargs": {"column": "privacy.attack"}},
        {"type": "expect_column_max_to_be_between", "kwargs": {"max_value": 1}},
        {"type": "expect_column_max_to_be_between", "kwargs": {"column": "a", "max_value": 1}, "severity": "info"},
    ],
)
def test_a_file_of_limits_holds_nothing_else(tmp_path, broken):
    path = export_limits(DEFAULTS, tmp_path)
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, "expectations": [broken]}), encoding="utf-8")
    with pytest.raises(RecipeError, match="gate limits"):
        split_off_limits(load_suites([path]))


def test_a_measure_with_two_limits_is_judged_twice():
    warning, blocking = judged(MEASURED, Threshold(warn=0.53, block=0.55))
    assert (warning.severity, warning.maximum) == (Severity.WARNING, 0.53)
    assert (blocking.severity, blocking.maximum) == (Severity.CRITICAL, 0.55)


def test_what_blocks_is_material_and_no_accident():
    _, blocking = judged(MEASURED, Threshold(warn=0.53, block=0.55), noise=0.001)
    assert blocking.maximum == 0.55
    warning, blocking = judged(MEASURED, Threshold(warn=0.53, block=0.55), noise=0.1)
    assert blocking.maximum == pytest.approx(0.53 + SIGMAS * 0.1)
    assert warning.maximum == pytest.approx(0.73)
    (least,) = judged(MEASURED, Threshold(block=0.9, at_most=False), noise=0.1)
    assert least.minimum == pytest.approx(0.9 - SIGMAS * 0.1)


def test_a_limit_goes_no_further_than_values_do():
    (blocking,) = judged(MEASURED, Threshold(block=0.9), allowance=0.5, laxest=1.0)
    assert blocking.maximum == 1.0
    (impossible,) = judged(MEASURED, Threshold(block=-1.0), laxest=1.0)
    assert impossible.maximum == -1.0
