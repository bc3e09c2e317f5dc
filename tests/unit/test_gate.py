"""The verdict, where it is kept, and what is never waited for."""

from __future__ import annotations

import math
import threading

import pytest

from synth_ops.artifacts import Evidence, Severity
from synth_ops.checks.engine import judge
from synth_ops.recipe import Policy, parse_recipe
from synth_ops.run import run_step
from synth_ops.steps.gate import Gate, gate
from synth_ops.store import Store

SHOP = "CREATE TABLE customers AS SELECT i AS id, 'x' || i % 4 AS kind FROM range(80) t(i)"


class Plugin:
    name, version, thresholds = "odd", "1", {}

    def __init__(self, *evidence):
        self.evidence, self.seen = evidence, []

    def evaluate(self, context):
        self.seen.append(context)
        return list(self.evidence)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """A store, and a copy in it."""
    import duckdb

    folder = tmp_path_factory.mktemp("recipe")
    with duckdb.connect(str(folder / "shop.duckdb")) as connection:
        connection.execute(SHOP)
    recipe = parse_recipe({"source": "shop.duckdb", "target": "parquet:///out"}).at(folder, "shop")
    store, ref = Store(folder / "store"), None
    for step in ("snapshot", "fit", "sample"):
        ref = run_step(recipe, step, store=store, needs=ref).ref
    return store, ref


def write_report(folder, **_):
    (folder / "report.html").write_text("a report", encoding="utf-8")
    return folder / "report.html"


def judged_by(check, **settings):
    given = {"policy": Policy.OFF_FOR_PRIVACY, "generator": None, **settings}
    return Gate(checks={"odd": check}, judge=judge, thresholds={}, suites={}, write_report=write_report, **given)


def evidence(value, severity):
    maximum = None if severity is Severity.INFO else 1.0
    return Evidence(check="odd.x", subject=severity, value=value, n=1, maximum=maximum, severity=severity)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("severity", list(Severity))
@pytest.mark.parametrize("blocked", [False, True])
def test_only_what_blocks_for_want_of_a_number_is_measured_again(sampled, value, severity, blocked):
    store, copy = sampled
    check = Plugin(evidence(2.0 if blocked else 0.5, Severity.CRITICAL), evidence(value, severity))
    check.version = f"{value} {severity} {blocked}"
    one = judged_by(check)
    report, found = gate(copy, one, store=store, progress=lambda _: None)
    unmeasured = severity is Severity.CRITICAL
    assert not found
    assert report.verdict == ("failed" if blocked or unmeasured else "passed")
    assert (report.ref == one.ref(copy)) == (not unmeasured)  # `publish` asks for the gate's own id
    gate(copy, one, store=store, progress=lambda _: None)
    assert len(check.seen) == (2 if unmeasured else 1)


class Hanging:
    name, version = "hanging", "1"
    woken = threading.Event()

    def fit(self, *_, **__):
        self.woken.wait(20)


def test_a_generator_that_hangs_is_not_waited_for(sampled):
    store, copy = sampled
    check = Plugin(evidence(0.5, Severity.CRITICAL))
    check.version = "hanging"
    generator = Hanging()
    one = judged_by(check, policy=Policy.STANDARD, generator=lambda *_: generator, timeout_s=2.0)
    gate(copy, one, store=store, progress=lambda _: None)
    generator.woken.set()
    (context,) = check.seen
    assert context.audit is None
    assert context.no_audit == "the generator took longer than 2 s to learn from half of the subjects"
