"""Whoever makes columns of a table, what was found of them holds: SDV's own kinds of constraints, undeclared."""

from __future__ import annotations

import duckdb
import pytest

from synth_ops.artifact_io import read_copy
from synth_ops.recipe import parse_recipe
from synth_ops.run import run_step
from synth_ops.sql import connect, register
from synth_ops.store import Store

SOURCE = """
CREATE TABLE stay (id INTEGER PRIMARY KEY, arrived DATE, left_on DATE, low INTEGER, price INTEGER, high INTEGER,
  city VARCHAR, state VARCHAR, points INTEGER, single BOOLEAN, twin BOOLEAN, suite BOOLEAN, mood VARCHAR);
INSERT INTO stay SELECT range, a, a + (hash(range * 3) % 20)::INTEGER, l, l + hash(range * 5) % 50,
  l + 50 + hash(range * 7) % 50, c, ['Ohio', 'Iowa', 'Utah'][1 + ascii(c) % 3], 5 * (hash(range * 11) % 12),
  r = 0, r = 1, r = 2, if(hash(range * 17) % 4 = 0, 'bad', 'good')
FROM (SELECT range, DATE '2024-01-01' + (hash(range) % 300)::INTEGER AS a, (hash(range * 2) % 200)::INTEGER AS l,
  'ABCDEFGH'[1 + (hash(range * 13) % 8)::INTEGER] AS c, hash(range * 19) % 3 AS r FROM range(1500));
"""
CONSTRAINTS = {
    "inequality": "left_on >= arrived",
    "range": "price BETWEEN low AND high",
    "fixed combinations": "state = ['Ohio', 'Iowa', 'Utah'][1 + ascii(city) % 3]",
    "fixed increments": "points % 5 = 0",
    "one-hot": "single::INTEGER + twin::INTEGER + suite::INTEGER = 1",
}
MODELS = {
    "relational_trees": {},
    "marginal_tree": {},
    "sdv.gaussian_copula": {},
    "sdv.ctgan": {"epochs": 1},
    "sdv.tvae": {"epochs": 1},
}


@pytest.fixture(scope="module")
def hotel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hotel")
    with duckdb.connect(str(folder / "hotel.duckdb")) as connection:
        connection.execute(SOURCE)
        assert broken(connection, "stay") == {}
    return folder, Store(folder / "store")


def broken(connection, table):
    counts = {name: f"count(*) FILTER (WHERE NOT ({rule}))" for name, rule in CONSTRAINTS.items()}
    found = connection.execute(f"SELECT {', '.join(counts.values())} FROM {table}").fetchone()
    return {name: count for name, count in zip(counts, found, strict=True) if count}


@pytest.mark.parametrize("model", MODELS)
def test_no_constraint_is_broken(hotel, model):
    document = {
        "source": "hotel.duckdb",
        "target": "t.duckdb",
        "tables": {"stay": {"generator": {model: MODELS[model]}}},
    }
    recipe, made = parse_recipe(document).at(hotel[0]), None
    for step in ("snapshot", "fit", "sample"):
        made = run_step(recipe, step, store=hotel[1], needs=made).ref
    with connect() as connection:
        register(connection, read_copy(hotel[1], made).tables, "copy")
        assert broken(connection, "copy.stay") == {}
