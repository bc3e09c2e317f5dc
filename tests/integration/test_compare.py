"""Generators side by side: all judged on the same snapshot, in one table and one page, and nothing is published."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import duckdb
import pytest

from synth_ops.cli import main
from synth_ops.comparison import compare
from synth_ops.errors import RecipeError, UnknownPluginError
from synth_ops.recipe import load_recipe
from synth_ops.store import Store

RECIPE = """
source: shop.duckdb
target: test.duckdb
gate: {policy: off-for-privacy, reason: nobody's}
generator: [marginal_tree, {relational_trees: {max_minutes: 0.00001}}]
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    with duckdb.connect(str(folder / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE item AS SELECT range AS id, range * 37 % 9 AS size FROM range(600)")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def compared(shop):
    """One that makes a copy, and one that takes too long."""
    return compare(load_recipe(shop / "recipe.yaml"), [], store=Store(shop / ".synth_ops"))


def test_each_is_measured_alike_and_a_failure_is_a_result(compared):
    good, slow = compared
    assert (good.generator, good.verdict, good.why, good.rows) == ("marginal_tree", "passed", "", 600)
    assert good.fit_seconds > 0
    assert good.rows_per_second > 0
    assert good.peak_bytes > 50_000_000
    assert 0 <= good.used["fidelity"] < 1
    assert "fidelity.mean_column_distance" in good.measures
    assert (slow.generator, slow.verdict, slow.rows) == ("relational_trees", "", 0)
    assert "was not done" in slow.why


def test_the_command_prints_a_table_and_writes_a_page(shop, compared, capsys):
    assert compared
    page = shop / "page.html"
    assert main(["compare", str(shop / "recipe.yaml"), "--output", str(page)]) is None
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["generator", "gate", "fidelity", "privacy", "efficacy", "learning", "drawing", "memory"]
    assert [line.split()[:2] for line in lines[1:3]] == [["marginal_tree", "passed"], ["relational_trees", "no"]]
    assert any("was not done" in line for line in lines[3:])
    text = page.read_text(encoding="utf-8")
    assert text.count('<svg class="bar"') >= 3
    assert "fidelity.mean_column_distance" in text
    assert "http" not in text
    HTMLParser().feed(text)
    assert not (shop / "test.duckdb").exists()
    assert not (shop / "nowhere").exists()


def test_machines_read_the_same(shop, compared, capsys):
    options = ["--generators", "marginal_tree", "--output", str(shop / "one.html"), "--json"]
    assert main(["compare", str(shop / "recipe.yaml"), *options]) is None
    (row,) = json.loads(capsys.readouterr().out)["generators"]
    assert row["measures"] == dict(compared[0].measures)  # what was there is found, with what it took then
    assert row["fit_seconds"] == compared[0].fit_seconds
    assert row["peak_bytes"] == compared[0].peak_bytes


def test_what_can_not_be_compared_is_told_before_anything_is_read(shop, tmp_path):
    recipe, store = load_recipe(shop / "recipe.yaml"), Store(tmp_path / "store")
    with pytest.raises(UnknownPluginError, match="did you mean 'marginal_tree'"):
        compare(recipe, ["relational_trees", "marginal_trees"], store=store)
    with pytest.raises(RecipeError, match="nothing to compare"):
        compare(recipe.with_changes(generator="marginal_tree"), [], store=store)
    assert not list((tmp_path / "store").glob("snapshot/*"))
