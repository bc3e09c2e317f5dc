"""SDV's model of sequences makes the columns of a table whose rows follow each other under their parents."""

from __future__ import annotations

import dataclasses
import json

import duckdb
import pytest

from synth_ops.artifact_io import read_copy, read_snapshot
from synth_ops.errors import RecipeError
from synth_ops.fingerprint import file_digest
from synth_ops.metadata import Metadata
from synth_ops.recipe import parse_recipe
from synth_ops.run import run_step, table_makers
from synth_ops.sql import connect, register
from synth_ops.store import Store
from synth_ops.testing.generator_cases import broken_constraints

SOURCE = """
CREATE TABLE patient (id INTEGER PRIMARY KEY, born DATE);
INSERT INTO patient SELECT range, DATE '1950-01-01' + (hash(range) % 9000)::INTEGER FROM range(150);
CREATE TABLE visit (id INTEGER PRIMARY KEY, patient INTEGER NOT NULL REFERENCES patient, seen TIMESTAMP NOT NULL,
  ward VARCHAR, weight DOUBLE, CHECK (weight > 0));
INSERT INTO visit SELECT row_number() OVER (), p,
  TIMESTAMP '2024-01-01' + INTERVAL 1 DAY * (30 * n + hash(p * 7 + n) % 20)::INTEGER,
  if(hash(p * 13 + n) % 3 = 0, 'north', 'south'), if((p + n) % 2 = 0, 60, 80) + hash(p + 31 * n) % 100 / 25
FROM range(150) a(p), range(12) b(n) WHERE n < 4 + p % 9;
"""
PAR = {"sdv.par": {"epochs": 200, "sequences": 40}}
FOLLOWS = """
SELECT corr(weight, before), count(DISTINCT ward), count(*)
FROM (SELECT ward, weight, lag(weight) OVER (PARTITION BY patient ORDER BY seen) AS before FROM {}.visit)
"""


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clinic")
    with duckdb.connect(str(folder / "clinic.duckdb")) as connection:
        connection.execute(SOURCE)
    return folder, Store(folder / "store")


def recipe_of(clinic, **changes):
    return parse_recipe({"source": "clinic.duckdb", "target": "t.duckdb", **changes}).at(clinic[0])


@pytest.fixture(scope="module")
def made(clinic):
    recipe, refs = recipe_of(clinic, tables={"visit": {"generator": PAR}}), [None]
    for step in ("snapshot", "fit", "sample"):
        refs.append(run_step(recipe, step, store=clinic[1], needs=refs[-1]).ref)
    return refs[1:]


def test_rows_follow_each_other_as_in_the_source(clinic, made):
    snapshot, copy = read_snapshot(clinic[1], made[0]), read_copy(clinic[1], made[2])
    assert broken_constraints(copy.metadata, copy.tables) == {}
    with connect() as connection:
        register(connection, snapshot.tables, "source")
        register(connection, copy.tables, "copy")
        real, drawn = (connection.execute(FOLLOWS.format(each)).fetchone() for each in ("source", "copy"))
    assert real[0] < -0.9  # high after low, low after high
    assert drawn[0] < -0.2
    assert drawn[1:] == real[1:]


def test_it_makes_what_is_no_key_and_tells_how_it_learned(clinic, made):
    guests = json.loads((clinic[1].read(made[1]).path / "model" / "guests.json").read_text())
    assert guests["visit"]["columns"] == ["weight"]  # the ward tells sequences apart, which is the frame's
    (curve,) = clinic[1].facts(made[1])["learning"]
    assert (curve["table"], curve["epochs"]) == ("visit", 200)
    losses = [loss for _, loss in curve["lines"]["loss"]]
    assert losses[-1] < losses[0]


def test_the_same_seed_gives_the_same_copy(clinic, made):
    recipe = recipe_of(clinic, tables={"visit": {"generator": PAR}})
    digests = [file_digest(file) for file in read_copy(clinic[1], made[2]).tables["visit"].files]
    clinic[1].delete(made[2])
    again = run_step(recipe, "sample", store=clinic[1], needs=made[1]).ref
    assert [file_digest(file) for file in read_copy(clinic[1], again).tables["visit"].files] == digests


def test_a_table_without_sequences_is_refused_at_plan(clinic, made):
    snapshot = read_snapshot(clinic[1], made[0])
    with pytest.raises(RecipeError, match=r"table 'patient' has no sequences.*name another `generator`"):
        table_makers(recipe_of(clinic, tables={"patient": {"generator": PAR}}), snapshot)
    ((_, makers),) = table_makers(recipe_of(clinic, generator=PAR), snapshot)
    assert makers == {"patient": "relational_trees", "visit": "sdv.par"}
    alone = dataclasses.replace(snapshot, metadata=Metadata(tables=snapshot.metadata.tables[:1]))
    with pytest.raises(RecipeError, match="no table has sequences"):
        table_makers(recipe_of(clinic, generator=PAR), alone)
