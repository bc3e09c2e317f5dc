"""What no model can make of a table is told by `plan`: early, in one line, with the way out; and nothing is learned."""

from __future__ import annotations

import json
import sys

import duckdb
import pytest

from synth_ops.artifact_io import read_copy
from synth_ops.cli import main
from synth_ops.recipe import parse_recipe
from synth_ops.run import run_step
from synth_ops.store import Store

SOURCE = """
CREATE TABLE word (id INTEGER PRIMARY KEY, word VARCHAR, size INTEGER);
INSERT INTO word SELECT range, 'w' || range % 5000, range % 97 FROM range(40000);
CREATE TABLE few (id INTEGER PRIMARY KEY, kind VARCHAR, size INTEGER);
INSERT INTO few SELECT range, 'a', range FROM range(3);
CREATE TABLE lonely (size INTEGER);
INSERT INTO lonely SELECT range * 37 % 9 FROM range(400);
"""
GAN = {"sdv.ctgan": {"max_memory_gb": 2}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planned")
    with duckdb.connect(str(folder / "words.duckdb")) as connection:
        connection.execute(SOURCE)
    return folder


@pytest.fixture
def plan(folder, capsys):
    """Plan a recipe with some changes: the exit code, and all that was said."""

    def run(**changes):
        document = {"source": "words.duckdb", "target": "test.duckdb", **changes}
        recipe = folder / "recipe.yaml"
        recipe.write_text(json.dumps(document), encoding="utf-8")
        try:
            code = main(["plan", str(recipe)]) or 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        shown = capsys.readouterr()
        assert not list((folder / ".synth_ops").glob("model/*"))
        assert "Traceback" not in shown.err
        return code, shown.out + " ".join(shown.err.split())

    return run


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generator": GAN}, ["table 'word' would take about 3.0 GiB", "5002 of them", "'word'", "max_memory_gb"]),
        ({"tables": {"word": {"generator": GAN}}}, ["would take about 3.0", "name another `generator`"]),
        ({"generator": "sdv.ctgan", "fit": {"max_memory_gb": 2}}, ["GiB", "may take 2"]),
        ({"generator": "sdv.ctagn"}, ["did you mean 'sdv.ctgan'"]),
        ({"generator": {"sdv.ctgan": {"epochs": 0}}}, ["epochs is not a whole number of at least 1"]),
        ({"tables": {"few": {"generator": {"sdv.tvae": {"epochs": 0}}}}}, ["epochs is not a whole number"]),
        ({"generator": {"sdv.tvae": {"epoch": 3}}}, ["does not take these settings: epoch", "it takes: epochs"]),
        ({"generator": {"argn": {"interpreter": "/nowhere/python"}}}, ["can't start the interpreter /nowhere/python"]),
        ({"generator": {"argn": {"interpreter": "/bin/true"}}}, ["/bin/true can't run synth_ops"]),
        ({"generator": "argn"}, ['pip install "synth-ops[argn]"']),
    ],
    ids=str,
)
def test_what_can_not_be_is_told(plan, changes, said):
    code, shown = plan(**changes)
    assert code == 2, shown
    assert [part for part in said if part not in shown] == []


def test_other_models_take_as_many_categories(plan):
    code, shown = plan(generator="sdv.gaussian_copula")
    assert code == 0
    assert shown.count("columns made by sdv.gaussian_copula") == 2  # of three rows nobody learns anything


def test_a_model_in_another_environment_is_asked_there(plan, folder, tmp_path):
    elsewhere = tmp_path / "python"
    elsewhere.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    elsewhere.chmod(0o755)
    code, shown = plan(generator={"sdv.ctgan": {"max_memory_gb": 2, "interpreter": str(elsewhere)}})
    assert code == 2
    assert "table 'word' would take about 3.0" in shown


def test_hardly_anything_to_learn_from(folder):
    """Three rows, and a table of one column: both are made."""
    gan = {"generator": {"sdv.ctgan": {"epochs": 1}}}
    document = {"source": "words.duckdb", "target": "t.duckdb", "tables": {"few": gan, "lonely": gan}}
    recipe, store = parse_recipe(document).at(folder), Store(folder / "little-store")
    snapshot = run_step(recipe, "snapshot", store=store).ref
    model = run_step(recipe, "fit", store=store, needs=snapshot).ref
    told = {each["table"]: (each["epochs"], sorted(each["lines"])) for each in store.facts(model)["learning"]}
    assert told["lonely"] == (1, ["discriminator loss", "distance", "generator loss"])
    tables = read_copy(store, run_step(recipe, "sample", store=store, needs=model).ref).tables
    assert (tables["few"].rows, tables["lonely"].rows) == (3, 400)
