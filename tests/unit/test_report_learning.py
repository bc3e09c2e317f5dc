"""Losses by epoch get from a model's folder into the report."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest

from synth_ops.learning_curve import LearningCurve, learning_curves
from synth_ops.report import Context
from synth_ops.report.learning import curves

CURVE = LearningCurve(
    table="orders",
    epochs=3,
    planned=9,
    kept=2,
    lines={"loss": [(1, 4.0), (2, 2.0), (3, 1.0)], "distance": [(1, 0.4), (2, 0.1), (3, 0.2)]},
)


def test_it_is_read_back_from_any_depth(tmp_path):
    place = tmp_path / "guests" / "1"
    place.mkdir(parents=True)
    CURVE.save(place)
    (found,) = learning_curves(tmp_path)
    assert json.loads(json.dumps(asdict(found))) == json.loads(json.dumps(asdict(CURVE)))


@pytest.mark.parametrize("text", ["", "[]", "null", '{"lines": 3}', '{"lines": {"a": [[1]]}, "table": "t"}'])
def test_a_file_that_is_something_else_is_left_out(tmp_path, text):
    (tmp_path / "learning.json").write_text(text)
    assert learning_curves(tmp_path) == []


def test_long_ones_are_thinned_and_odd_numbers_left_out():
    points = [(epoch, 1 / epoch) for epoch in range(1, 5_001)]
    document = {**asdict(CURVE), "lines": {"loss": points, "broken": [(1, math.nan), (2, math.inf)]}}
    thinned = LearningCurve.from_json(document)
    assert set(thinned.lines) == {"loss"}
    assert len(thinned.lines["loss"]) <= 202
    assert (thinned.lines["loss"][0], thinned.lines["loss"][-1]) == (points[0], points[-1])


def test_a_line_is_drawn_with_the_state_that_is_used():
    distance, loss = curves(Context(learning=[asdict(CURVE)]))
    assert distance.title == "orders: distance"
    assert distance.summary == "0.4 to 0.2 in 3 of 9 epochs; that of epoch 2 is used"
    assert distance.kept == (120.0, 36.0)
    assert loss.path.startswith("M0 0L120 24L240 36")


def test_models_that_learn_at_once_have_none():
    once = {**asdict(CURVE), "lines": {"loss": [(1, 2.0)]}}
    assert curves(Context(learning=[once])) == []
    assert curves(Context()) == []
