"""What every check plug-in promises, whoever wrote it."""

from __future__ import annotations

import dataclasses
import math

import pytest

from synth_ops.artifacts import Evidence, Severity
from synth_ops.checks.engine import judge
from synth_ops.registry import PluginKind, load, names
from synth_ops.testing.check_contexts import check_context
from synth_ops.testing.warehouses import CANARIES, leaked_canaries, small_warehouse_rows

CHECKS = names(PluginKind.CHECK)


ASKED = [name for name in CHECKS if name != "efficacy"]
"""Efficacy measures nothing unless the recipe names a target: see its own tests."""


@pytest.fixture(params=ASKED)
def check(request):
    return load(PluginKind.CHECK, request.param)()


def failed(check, context):
    return [
        o.evidence for o in judge(check.evaluate(context)) if not o.passed and o.evidence.severity is Severity.CRITICAL
    ]


def test_ours_are_installed():
    assert {"integrity", "fidelity", "privacy", "efficacy"} <= set(CHECKS)


def test_it_names_itself_and_its_limits(check):
    assert check.name in CHECKS
    assert check.version
    assert all(name.startswith(f"{check.name}.") for name in check.thresholds)
    for threshold in check.thresholds.values():
        limits = [limit for limit in (threshold.warn, threshold.block) if limit is not None]
        assert limits
        assert all(math.isfinite(limit) for limit in limits)
        assert not (len(limits) == 2 and threshold.is_stricter(threshold.block, threshold.warn))


def test_its_evidence_is_names_and_numbers(check, tmp_path):
    evidence = check.evaluate(check_context(tmp_path))
    assert evidence
    for each in evidence:
        assert isinstance(each, Evidence)
        assert each.check.startswith(f"{check.name}.")
        assert each.subject
        assert each.severity is Severity.INFO or each.minimum is not None or each.maximum is not None
        assert "\n" not in each.detail


def test_it_names_each_measurement_once(check, tmp_path):
    evidence = check.evaluate(check_context(tmp_path))
    named = [(each.check, each.subject, each.severity) for each in evidence]
    assert len(named) == len(set(named))


def test_a_clean_copy_passes(check, tmp_path):
    assert failed(check, check_context(tmp_path)) == []


def test_it_gives_the_same_numbers_twice(check, tmp_path):
    context = check_context(tmp_path)
    first, second = ([dataclasses.replace(e, seconds=0) for e in check.evaluate(context)] for _ in range(2))
    assert first == second


def test_a_missing_table_fails_closed(check, tmp_path):
    assert failed(check, check_context(tmp_path, lambda rows: rows.pop("order_lines")))


def test_the_users_limits_count(check, tmp_path):
    context = check_context(tmp_path, lambda rows: rows["order_tags"].pop())
    lax = dataclasses.replace(context, thresholds={name: _moved(each) for name, each in check.thresholds.items()})
    assert _limits(check, lax) != _limits(check, context)


def _moved(threshold):
    levels = {level: getattr(threshold, level) for level in ("warn", "block")}
    return dataclasses.replace(
        threshold, **{level: limit + 0.01 for level, limit in levels.items() if limit is not None}
    )


def _limits(check, context):
    return [(each.minimum, each.maximum) for each in check.evaluate(context)]


def test_no_value_is_in_its_evidence_even_when_all_of_them_leak(check, tmp_path):
    def plant(rows):
        rows.update(small_warehouse_rows(customers=400))

    evidence = check.evaluate(check_context(tmp_path, plant))
    assert leaked_canaries(str(evidence), CANARIES) == []
