"""What a night comes to, and how far the source moved."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ops.artifacts import ArtifactKind, ArtifactRef, Snapshot
from synth_ops.metadata import Column, Kind, Metadata, Table
from synth_ops.report.drift import drift, profile
from synth_ops.report.scores import alerts, night_scores, used
from synth_ops.testing.warehouses import write_table

COLUMNS = (
    Column(name="size", type="DOUBLE", kind=Kind.NUMERICAL),
    Column(name="state", type="VARCHAR", kind=Kind.CATEGORICAL),
    Column(name="id", type="INTEGER", kind=Kind.ID),
)
TABLE = Table(name="t", path=("t",), columns=COLUMNS, primary_key=("id",))


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def snapshot(folder, rows):
    return Snapshot(
        ref=ArtifactRef(kind=ArtifactKind.SNAPSHOT, id="0" * 20),
        metadata=Metadata(tables=(TABLE,)),
        tables={"t": write_table(folder, TABLE, rows)},
    )


def rows(seed, n, *, shift=0.0, states="abc", empty=0.0):
    rng = np.random.default_rng(seed)
    sizes, chosen = rng.normal(100 + shift, 20, n), rng.choice(list(states), n)
    return [(None if rng.random() < empty else float(sizes[i]), str(chosen[i]), i) for i in range(n)]


def outcome(check, value, maximum, severity="critical"):
    evidence = {"check": check, "value": value, "minimum": None, "maximum": maximum, "severity": severity}
    return {"passed": value <= maximum, "evidence": evidence}


def night(**used_of):
    scores = {name: {"value": 0.0, "limit": 1.0, "used": share, "measured": 1} for name, share in used_of.items()}
    return {"at": "2026-01-01T00:00:00+00:00", "verdict": "passed", "scores": scores}


@pytest.mark.parametrize("n", [50, 500, 5_000])
def test_samples_of_one_population_do_not_drift(tmp_path, n):
    for seed in range(5):
        before = profile(snapshot(tmp_path / f"a{seed}", rows(seed, n)), digest)
        found = drift(before, snapshot(tmp_path / f"b{seed}", rows(seed + 100, n)), digest)
        assert found.keys() == {"t.size", "t.state"}
        assert max(found.values()) < 0.1


def test_what_moves_drifts(tmp_path):
    before = profile(snapshot(tmp_path / "a", rows(0, 2_000)), digest)
    shifted = drift(before, snapshot(tmp_path / "b", rows(1, 2_000, shift=25)), digest)
    assert shifted["t.size"] > 0.25
    assert shifted["t.state"] < 0.05
    renamed = drift(before, snapshot(tmp_path / "c", rows(1, 2_000, states="abx")), digest)
    assert renamed["t.state"] > 0.25
    assert renamed["t.size"] < 0.05
    emptied = drift(before, snapshot(tmp_path / "d", rows(1, 2_000, empty=0.3)), digest)
    assert emptied["t.size"] > 0.25


def test_psi_is_the_textbook_one_less_what_chance_explains(tmp_path):
    # three states, 1000 rows each time: (600, 300, 100) against (500, 300, 200)
    def of(counts):
        states = [state for state, count in zip("abc", counts, strict=True) for _ in range(count)]
        return [(1.0, state, i) for i, state in enumerate(states)]

    before = profile(snapshot(tmp_path / "a", of((600, 300, 100))), digest)
    found = drift(before, snapshot(tmp_path / "b", of((500, 300, 200))), digest)["t.state"]
    old, new = np.array([0.6, 0.3, 0.1]), np.array([0.5, 0.3, 0.2])
    chance = (2 + 2 * np.sqrt(2 * 2)) * 2 / 1000
    assert found == pytest.approx(((new - old) * np.log(new / old)).sum() - chance, abs=1e-3)


def test_a_profile_holds_no_value(tmp_path):
    values = [(100 + i * 1.2345678, "secret" if i % 2 else "other", i) for i in range(200)]
    text = str(profile(snapshot(tmp_path, values), digest))
    assert "secret" not in text
    assert not [size for size, *_ in values if str(size) in text]


def test_tables_and_columns_that_are_new_have_no_drift(tmp_path):
    assert drift({}, snapshot(tmp_path / "a", rows(0, 50)), digest) == {}
    before = {"t": {"rows": 1, "columns": {}}}
    assert drift(before, snapshot(tmp_path / "b", rows(0, 50)), digest) == {}
    empty = profile(snapshot(tmp_path / "c", []), digest)
    assert set(drift(empty, snapshot(tmp_path / "d", rows(0, 50)), digest).values()) == {0.0}


def test_a_column_that_changed_its_kind_is_left_out(tmp_path):
    before = profile(snapshot(tmp_path / "a", rows(0, 50)), digest)
    changed = dataclasses.replace(
        TABLE, columns=(COLUMNS[0], dataclasses.replace(COLUMNS[1], kind=Kind.TEXT), COLUMNS[2])
    )
    later = dataclasses.replace(snapshot(tmp_path / "b", rows(0, 50)), metadata=Metadata(tables=(changed,)))
    assert drift(before, later, digest).keys() == {"t.size"}


@given(st.floats(0, 1), st.floats(0.01, 1))
def test_a_value_uses_all_of_its_limit_where_it_meets_it(value, limit):
    evidence = {"value": value, "minimum": None, "maximum": limit}
    assert (used(evidence) <= 1) == (value <= limit or used(evidence) == 1)


def test_a_night_is_scored_by_the_limit_that_blocks():
    scores = night_scores(
        [outcome("a", 0.1, 0.2), outcome("a", 0.1, 0.1, "warning"), outcome("a", 0.3, 0.4), outcome("exact", 0.0, 0.0)]
    )
    assert scores == {"a": {"value": 0.2, "limit": 0.3, "used": 0.625, "measured": 2}}


def test_a_move_is_seen_against_the_last_good_night():
    failed = {**night(a=0.9), "verdict": "failed"}
    (alert,) = alerts([night(a=0.8, b=0.1), night(a=0.1, b=0.5), failed], night(a=0.4, b=0.6, c=0.9)["scores"], 0.2)
    assert alert["check"] == "a"
    assert (alert["before"]["used"], alert["now"]["used"]) == (0.1, 0.4)
    assert alerts([failed], night(a=0.4)["scores"], 0.2) == []
    assert alerts([], night(a=0.4)["scores"], 0.2) == []
