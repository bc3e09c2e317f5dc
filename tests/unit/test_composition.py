"""Other generators make the columns of single tables: keys, rules, references and what depends on parents stay."""

from __future__ import annotations

import json

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ops.artifact_io import read_copy, read_snapshot
from synth_ops.choice import ladder
from synth_ops.cli import main
from synth_ops.errors import RecipeError, UnknownPluginError
from synth_ops.fingerprint import file_digest
from synth_ops.generators.composition import Composed
from synth_ops.generators.composition.guest import training_snapshot
from synth_ops.generators.relational_trees.drawing.guests import seat_alike
from synth_ops.generators.relational_trees.model import load
from synth_ops.recipe import parse_recipe
from synth_ops.run import run_step
from synth_ops.steps.sample import sample
from synth_ops.store import Store
from synth_ops.testing.contracts import unheard

GUEST = {"marginal_tree": {"alpha": 2.0}}
SHOP = """
CREATE TABLE region (code VARCHAR PRIMARY KEY, climate VARCHAR);
INSERT INTO region SELECT 'r' || range, ['dry', 'wet'][1 + range % 2] FROM range(6);
CREATE TABLE customer (id INTEGER PRIMARY KEY, email VARCHAR, region VARCHAR REFERENCES region, income INTEGER);
INSERT INTO customer SELECT range, 'c' || range || '@example.org', 'r' || range % 6, 20000 + range * 7919 % 50 * 1000
FROM range(1200);
CREATE TABLE purchase (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customer, price DECIMAL(9, 2),
  items INTEGER, total DECIMAL(12, 2), paid VARCHAR CHECK (paid IN ('card', 'cash')), note VARCHAR, CHECK (items > 0));
INSERT INTO purchase SELECT range, c, income / 1000 + hash(range) % 100 / 50, n, n * (income / 1000 +
hash(range) % 100 / 50)::DECIMAL(9, 2), if((income > 45000) = (hash(range * 3) % 10 < 8), 'card', 'cash'), 'n' || range
FROM (SELECT range, hash(range * 11) % 1200 AS c, 20000 + c * 7919 % 50 * 1000 AS income, 1 + hash(range * 5) % 6 AS n
FROM range(6000));
"""
MEASURES = """
SELECT corr(income, price), corr(income, (paid = 'card')::INTEGER), count(*),
  count(*) FILTER (abs(total - round(price * items, 2)) > 0.011), count(*) FILTER (items < 1)
FROM purchase p JOIN customer c ON p.customer = c.id JOIN region r ON c.region = r.code
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("composed")
    with duckdb.connect(str(folder / "shop.duckdb")) as connection:
        connection.execute(SHOP)
    return folder, Store(folder / "store")


def recipe_of(shop, **changes):
    return parse_recipe({"source": "shop.duckdb", "target": "test.duckdb", **changes}).at(shop[0])


def steps(shop, recipe, names=("snapshot", "fit", "sample")):
    """The artifacts of the first steps."""
    found = [None]
    for name in names:
        found.append(run_step(recipe, name, store=shop[1], needs=found[-1]).ref)
    return found[1:]


@pytest.fixture(scope="module")
def composed(shop):
    return steps(shop, recipe_of(shop, tables={"purchase": {"generator": GUEST}}))


def measured(tables):
    with duckdb.connect() as connection:
        for name, data in tables.items():
            connection.read_parquet([str(file) for file in data.files]).create(name)
        return connection.execute(MEASURES).fetchone()


def test_what_depends_on_parents_stays_and_rules_hold(shop, composed):
    real = measured(read_snapshot(shop[1], composed[0]).tables)
    made = measured(read_copy(shop[1], composed[2]).tables)
    assert made[2] == real[2]  # every row has its customer, and that one its region
    assert made[3:] == (0, 0)
    assert real[0] > 0.99
    assert made[0] > 0.9
    assert made[1] == pytest.approx(real[1], abs=0.1)


def test_the_guest_makes_the_columns_of_its_table(shop, composed):
    document = json.loads((shop[1].read(composed[1]).path / "model" / "guests.json").read_text())
    assert document.keys() == {"purchase"}
    assert set(document["purchase"]["columns"]) >= {"price", "paid"}
    assert not {"id", "customer", "total", "note"} & set(document["purchase"]["columns"])
    alone = steps(shop, recipe_of(shop))[2]
    tables = [read_copy(shop[1], copy).tables for copy in (alone, composed[2])]
    same = {name: [file_digest(each[name].files[0]) for each in tables] for name in tables[0]}
    assert same["region"][0] == same["region"][1]
    assert same["customer"][0] == same["customer"][1]
    assert same["purchase"][0] != same["purchase"][1]


@pytest.mark.parametrize("guest", [GUEST, {"sdv.gaussian_copula": {}}], ids=["ours", "pickled"])
def test_any_number_of_workers_gives_the_same_bytes(shop, guest):
    """Of a guest whose model is a pickle, too: every process that draws has a worker of its own for it."""
    if guest is not GUEST:
        pytest.importorskip("sdv", reason='needs `pip install -e ".[sdv]"`')
    frame = {"marginal_tree": {"shard_cells": 20_000}}
    recipe = recipe_of(shop, generator=frame, tables={"purchase": {"generator": guest}})
    model = steps(shop, recipe, ("snapshot", "fit"))[1]
    (choice,) = ladder(recipe)
    generator = Composed(**choice.settings)
    copies = []
    for workers in (1, 2):
        copy, _ = sample(model, generator, seed=3, scale=1.0, store=shop[1], progress=unheard, workers=workers)
        tables = read_copy(shop[1], copy).tables
        copies.append({name: [file_digest(file) for file in data.files] for name, data in tables.items()})
        shop[1].delete(copy)
    assert len(copies[0]["purchase"]) > 1
    assert copies[0] == copies[1]


def test_ids_tell_who_made_which_table(shop, composed):
    other = steps(shop, recipe_of(shop, tables={"purchase": {"generator": {"marginal_tree": {"alpha": 3.0}}}}))
    assert other[0] == composed[0]  # the source is read alike
    assert other[1] != composed[1]


def test_the_plan_shows_who_makes_which_table(shop, capsys):
    recipe = shop[0] / "recipe.yaml"
    recipe.write_text("source: shop.duckdb\ntarget: t.duckdb\ntables: {purchase: {generator: marginal_tree}}\n")
    assert main(["plan", str(recipe), "--store", str(shop[0] / "store")]) is None
    shown = capsys.readouterr().out
    assert "generator: relational_trees; purchase: marginal_tree" in shown
    assert shown.count("columns made by marginal_tree") == 1
    assert shown.count("columns made by relational_trees") == 2


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tables": {"purchase": {"generator": "marginal_tre"}}}, UnknownPluginError, "did you mean 'marginal_tree'"),
        ({"tables": {"purchase": {"generator": {"marginal_tree": {"beta": 1}}}}}, RecipeError, "it takes: alpha"),
        ({"tables": {"purchase": {"generator": {"a": {}, "b": {}}}}}, RecipeError, "a name with settings"),
        ({"tables": {"purchase": {"generator": "a", "exclude": True}}}, RecipeError, "is not made"),
        ({"generator": ["a", "a"]}, RecipeError, "none twice"),
        ({"generator": []}, RecipeError, "at least one"),
        ({"generator": ["a"], "generator_settings": {"b": 1}}, RecipeError, "those of one name"),
    ],
)
def test_bad_choices_are_told(shop, changes, error, message):
    with pytest.raises(error, match=message):
        [Composed(**each.settings) for each in ladder(recipe_of(shop, **changes))]


def test_a_table_without_anything_to_make_is_told(shop, composed):
    snapshot = read_snapshot(shop[1], composed[0])
    generator = Composed(tables={"purchase": GUEST, "region": GUEST, "purchases": GUEST})
    with pytest.raises(RecipeError, match="'purchases' is not in the copy; did you mean 'purchase'"):
        generator.makers(snapshot)
    everywhere = Composed(everywhere=GUEST, tables={"purchase": {"relational_trees": {}}}).makers(snapshot)
    assert everywhere == {"region": "relational_trees", "customer": "marginal_tree", "purchase": "relational_trees"}


def test_an_audit_has_each_table_made_by_whom_it_was(shop, composed):
    snapshot, model = read_snapshot(shop[1], composed[0]), shop[1].read(composed[1]).path / "model"
    other = Composed(everywhere=GUEST, tables={"purchase": GUEST})
    assert set(other.makers(snapshot).values()) == {"relational_trees", "marginal_tree"}
    made = {"region": "relational_trees", "customer": "relational_trees", "purchase": "marginal_tree"}
    assert other.as_in(model).makers(snapshot) == other.made_in(model) == made


codes = st.integers(1, 60).flatmap(
    lambda rows: st.lists(st.lists(st.integers(0, 4), min_size=rows, max_size=rows), min_size=6, max_size=6)
)


@given(codes)
def test_seats_are_a_permutation_that_agrees_as_far_as_can_be(drawn):
    hosts, guests = (np.array(each, np.int32) for each in (drawn[:3], drawn[3:]))
    rows = hosts.shape[1]
    seats = seat_alike(list(hosts), list(guests), rows)
    assert sorted(seats) == list(range(rows))
    everything = [tuple(column) for column in hosts.T]
    theirs = [tuple(column) for column in guests.T]
    possible = sum(min(everything.count(each), theirs.count(each)) for each in set(everything))
    assert sum(everything[row] == theirs[seat] for row, seat in enumerate(seats)) == possible


def test_a_guest_never_sees_what_few_share(shop, composed, tmp_path):
    snapshot = read_snapshot(shop[1], composed[0])
    model = load(shop[1].read(composed[1]).path / "model" / "frame")["purchase"]
    table = snapshot.metadata.table("purchase")
    shown, groups, learned = training_snapshot(snapshot, table, ("price", "paid"), model, tmp_path)
    assert (groups, learned) == ([], 6000)
    assert [column.name for column in shown.metadata.tables[0].columns] == ["price", "paid"]
    prices = np.array(pq.read_table(shown.tables["purchase"].files[0]).column("price").to_pylist(), float) * 100
    codec = model.codecs["price"]
    assert prices.min() >= codec.low.min() > 2000  # of five customers, not of one
    assert prices.max() <= codec.high.max()
