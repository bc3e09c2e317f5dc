"""The example of a generator of one's own is installed like anybody's, keeps the contract, and works from a recipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "custom_generator"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Environment variables for a Python that has the plug-in, and for the rest is this one."""
    place = tmp_path_factory.mktemp("plug-in")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place), str(EXAMPLE)]
    subprocess.run(command, check=True, timeout=300)
    return {**os.environ, "PYTHONPATH": str(place)}


def _run(installed, *command, folder):
    return subprocess.run(command, env=installed, cwd=folder, text=True, capture_output=True, timeout=600, check=False)


def test_it_is_short():
    assert len((EXAMPLE / "independent_columns.py").read_text(encoding="utf-8").splitlines()) <= 100


def test_it_keeps_the_contract(installed, tmp_path):
    tests = str(EXAMPLE / "test_independent_columns.py")
    options = ("-q", "--import-mode=importlib", "-p", "no:cacheprovider", "--rootdir", str(tmp_path))
    done = _run(installed, sys.executable, "-m", "pytest", *options, tests, folder=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


def test_it_works_from_a_recipe(installed, tmp_path):
    _make_source(tmp_path / "source.duckdb")
    text = "source: source.duckdb\ntarget: target.duckdb\ngenerator: independent_columns\n"
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    command = str(Path(sys.executable).with_name("synth-ops"))
    done = _run(installed, command, "run", "recipe.yaml", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)
    with duckdb.connect(str(tmp_path / "target.duckdb")) as connection:
        assert connection.sql("SELECT count(*), count(DISTINCT id) FROM visit").fetchall() == [(500, 500)]


def test_it_refuses_what_it_can_not_do(installed, tmp_path):
    with duckdb.connect(str(tmp_path / "source.duckdb")) as connection:
        connection.execute("CREATE TABLE owner (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE pet (id INTEGER PRIMARY KEY, owner INTEGER REFERENCES owner (id))")
        connection.execute("INSERT INTO owner FROM range(50)")
        connection.execute("INSERT INTO pet SELECT range, range % 50 FROM range(200)")
    text = "source: source.duckdb\ntarget: target.duckdb\ngenerator: independent_columns\n"
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    command = str(Path(sys.executable).with_name("synth-ops"))
    done = _run(installed, command, "run", "recipe.yaml", folder=tmp_path)
    assert done.returncode == 1
    assert "use `generator: relational_trees`" in done.stderr
    assert not (tmp_path / "target.duckdb").exists()


def test_it_makes_the_columns_of_one_table_in_a_frame(installed, tmp_path):
    with duckdb.connect(str(tmp_path / "source.duckdb")) as connection:
        connection.execute("CREATE TABLE owner (id INTEGER PRIMARY KEY)")
        connection.execute(
            "CREATE TABLE pet (id INTEGER PRIMARY KEY, owner INTEGER REFERENCES owner (id), legs INTEGER)"
        )
        connection.execute("INSERT INTO owner FROM range(50)")
        connection.execute("INSERT INTO pet SELECT range, range % 50, range * 37 % 9 FROM range(500)")
    text = "source: source.duckdb\ntarget: target.duckdb\ngate: {policy: off-for-privacy, reason: nobody's}\n"
    text += "tables: {pet: {generator: independent_columns}}\n"
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    command = str(Path(sys.executable).with_name("synth-ops"))
    done = _run(installed, command, "run", "recipe.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    with duckdb.connect(str(tmp_path / "target.duckdb")) as connection:
        made = connection.sql("SELECT count(*), count(DISTINCT legs) FROM pet JOIN owner ON pet.owner = owner.id")
        assert made.fetchall() == [(500, 9)]


def _make_source(file):
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE visit (id INTEGER PRIMARY KEY, ward VARCHAR, nights INTEGER)")
        connection.execute("INSERT INTO visit SELECT range, 'ward ' || range % 7, range * 37 % 9 FROM range(500)")
