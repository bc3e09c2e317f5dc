"""The gate's own test: who passes, what is caught and by whom, and what a gate misses that was blinded."""

from __future__ import annotations

import json

import duckdb
import pytest
import yaml

from synth_ops.artifacts import ArtifactKind
from synth_ops.cli import main
from synth_ops.controls import Verdict
from synth_ops.controls.faults import FAULTS
from synth_ops.recipe import load_recipe
from synth_ops.run import try_gate
from synth_ops.store import Store

CLINIC = """
CREATE TABLE patients (
    patient_id INTEGER PRIMARY KEY, email VARCHAR NOT NULL UNIQUE, town VARCHAR, height DOUBLE, income DOUBLE,
    born DATE NOT NULL, guardian INTEGER REFERENCES patients
);
CREATE TABLE visits (
    visit_id INTEGER PRIMARY KEY, patient_id INTEGER NOT NULL REFERENCES patients, weight DOUBLE, ward VARCHAR NOT NULL,
    cost DECIMAL(9, 2) CHECK (cost >= 0)
);
SELECT setseed(0.5);
CREATE TEMP TABLE everybody AS SELECT
    i, 'patient' || i || '@clinic.example', CASE WHEN i % 40 = 7 THEN 'hamlet ' || i ELSE 'town ' || i % 9 END,
    150 + 40 * random(), -1000 * ln(random()), DATE '1940-01-01' + CAST(25000 * random() AS INTEGER),
    CASE WHEN i % 5 = 4 THEN i - 1 END AS guardian
FROM range(700) t(i);
INSERT INTO patients FROM everybody WHERE guardian IS NULL;
INSERT INTO patients FROM everybody WHERE guardian IS NOT NULL;
INSERT INTO visits SELECT
    4 * patient_id + j, patient_id, height - 100 + random(), 'ward ' || CAST(height / 4 AS INTEGER) % 6, 90 * random()
FROM patients, range(4) s(j) WHERE j < 2 + patient_id % 3
"""


@pytest.fixture
def recipe_file(tmp_path):
    """Write a recipe for a database that some SQL makes."""

    def write(statements, **sections):
        with duckdb.connect(str(tmp_path / "source.duckdb")) as connection:
            connection.execute(statements)
        file = tmp_path / "recipe.yaml"
        document = {"source": "source.duckdb", "target": "parquet:///published", **sections}
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        return file

    return write


def test_fresh_people_pass_and_each_fault_is_caught_by_the_check_meant_for_it(recipe_file, tmp_path, capsys):
    file = recipe_file(CLINIC, tables={"patients": {"subject": True}})
    main(["gate", "--self-test", str(file), "--store", str(tmp_path / "store"), "--json"])
    trials = json.loads(capsys.readouterr().out)["trials"]
    assert {each["control"]: each["verdict"] for each in trials} == {
        "fresh real subjects": "passed",
        **{fault.name: "caught" for fault in FAULTS},
    }
    for each in trials[1:]:
        assert set(each["meant"]) & set(each["blocked_by"])
    store = Store(tmp_path / "store")
    assert [len(store.artifacts(kind)) for kind in ArtifactKind] == [
        kind is ArtifactKind.SNAPSHOT for kind in ArtifactKind
    ]
    assert not (tmp_path / "published").exists()


def test_a_blinded_gate_fails_its_own_test(recipe_file, tmp_path, capsys):
    blind = {"policy": "off-for-privacy", "thresholds": {"fidelity.column_distance": 2.0}, "reason": "made-up data"}
    file = recipe_file(CLINIC, gate=blind)
    with pytest.raises(SystemExit) as stopped:
        main(["gate", "--self-test", str(file), "--store", str(tmp_path / "store")])
    assert stopped.value.code == 3
    said = capsys.readouterr()
    assert "failed its own test: a shifted column" in said.err
    lines = {line.split("  ")[0].strip(): line.rstrip() for line in said.out.splitlines()}
    assert lines["a shifted column"].endswith("missed")
    assert lines["a memorised outlier"].endswith("not applicable: the policy is off-for-privacy")
    assert lines["an orphan"].endswith("caught")


def test_what_a_schema_has_no_room_for_is_told_with_the_reason(recipe_file, tmp_path):
    file = recipe_file("CREATE TABLE flags AS SELECT i % 2 = 0 AS flag FROM range(200) t(i)")
    trials = try_gate(load_recipe(file), store=Store(tmp_path / "store"))
    assert all(each.as_meant for each in trials)
    told = {each.fault: each.reason for each in trials if each.verdict is Verdict.NOT_APPLICABLE}
    assert told["an orphan"] == "no reference from one table of the subjects to another has to hold"
    assert told["a duplicate key"] == "no table of the subjects has a key"
    assert all(told.values())


def test_too_few_rows_are_refused(recipe_file, tmp_path, capsys):
    file = recipe_file("CREATE TABLE few AS SELECT i FROM range(9) t(i)")
    with pytest.raises(SystemExit) as stopped:
        main(["gate", "--self-test", str(file), "--store", str(tmp_path / "store")])
    assert stopped.value.code == 2
    assert "20 rows" in capsys.readouterr().err
