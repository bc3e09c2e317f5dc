"""A recipe names several generators: one that takes too long, or fails the gate, gives way to the next."""

from __future__ import annotations

import json

import duckdb
import pytest

from synth_ops.artifact_io import read_copy
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.cli import main
from synth_ops.endpoints import generations
from synth_ops.errors import FitError, GateFailedError
from synth_ops.recipe import parse_recipe
from synth_ops.run import latest_report, run_all, run_step
from synth_ops.store import Store

SLOW = {"marginal_tree": {"max_minutes": 0.00001}}
POOR, GOOD = "marginal_tree", "relational_trees"
COLUMNS = ", ".join(f"if(hash(r * {n}) % 100 < 88, z, 1 - z) AS v{n}" for n in (3, 5, 7, 11, 13, 17))
SOURCE = f"""
CREATE TABLE vote AS SELECT r AS id, {COLUMNS}
FROM (SELECT range AS r, (hash(range) % 2)::INTEGER AS z FROM range(4000))
"""
"""Six columns that depend on each other, each pair alike: a tree of pairs loses most of them."""
GATE = {"policy": "off-for-privacy", "reason": "nobody's votes", "thresholds": {"fidelity.mean_pair_distance": 0.04}}


@pytest.fixture(scope="module")
def votes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("votes")
    with duckdb.connect(str(folder / "votes.duckdb")) as connection:
        connection.execute(SOURCE)
    return folder


def recipe_of(votes, *generators, **changes):
    document = {"source": "votes.duckdb", "target": "test.duckdb", "gate": GATE, "generator": generators, **changes}
    return parse_recipe(document).at(votes)


@pytest.fixture(scope="module")
def night(votes):
    """A run, in which the first generator takes too long, and the second one's copy fails the gate."""
    store = Store(votes / "store")
    return store, {result.step: result for result in run_all(recipe_of(votes, SLOW, POOR, GOOD), store=store)}


def test_the_night_is_kept(votes, night):
    store, results = night
    assert results["fit"].facts["generator"] == POOR
    assert "marginal_tree: " in results["fit"].facts["instead_of"]
    told = results["gate"].facts["instead_of"]
    assert told.startswith("marginal_tree: ")
    assert "; marginal_tree: its copy failed the gate: fidelity.mean_pair_distance[" in told
    copy = read_copy(store, ArtifactRef(kind=ArtifactKind.COPY, id=results["gate"].facts["copy"]))
    assert store.facts(copy.model)["generator"] == GOOD
    (generation,) = generations(recipe_of(votes, GOOD))
    assert generation.copy == copy.ref.id


def test_the_report_says_so(votes, night):
    report, _, context = latest_report(recipe_of(votes, SLOW, POOR, GOOD), store=night[0])
    assert report.verdict == "passed"
    assert [each["generator"] for each in context.fell] == [POOR, POOR]
    assert "was not done after" in context.fell[0]["why"]
    assert "Made by relational_trees, as <b>marginal_tree</b> failed" in report.html.read_text(encoding="utf-8")


def test_a_second_run_finds_all_of_it(votes, night):
    again = run_all(recipe_of(votes, SLOW, POOR, GOOD), store=night[0])
    assert again[3].ref == night[1]["gate"].ref
    assert again[4].skipped


def test_the_command_line_says_so_in_one_line(votes, night, capsys):
    assert night
    text = json.dumps({"source": "votes.duckdb", "target": "test.duckdb", "gate": GATE, "generator": [POOR, GOOD]})
    (votes / "ladder.yaml").write_text(text, encoding="utf-8")
    assert main(["run", str(votes / "ladder.yaml"), "--store", str(votes / "store")]) is None
    shown = capsys.readouterr().out
    assert "published generation" in shown.splitlines()[0]
    assert "; instead of marginal_tree: its copy failed the gate: fidelity.mean_pair_distance[" in shown.splitlines()[0]
    assert main(["run", str(votes / "ladder.yaml"), "--store", str(votes / "store"), "--json"]) is None
    document = json.loads(capsys.readouterr().out)
    assert document["artifacts"]["sample"] == night[1]["gate"].facts["copy"]
    assert document["instead_of"].startswith("marginal_tree: ")


def test_the_last_one_has_nothing_after_it(votes, tmp_path):
    store = Store(tmp_path / "store")
    with pytest.raises(GateFailedError, match=r"fidelity.mean_pair_distance.*; before it failed marginal_tree: "):
        run_all(recipe_of(votes, SLOW, POOR), store=store)
    snapshot = run_step(recipe_of(votes, GOOD), "snapshot", store=store).ref
    other = {"marginal_tree": {"max_minutes": 0.00002}}
    with pytest.raises(FitError):
        run_step(recipe_of(votes, SLOW, other), "fit", store=store, needs=snapshot)
