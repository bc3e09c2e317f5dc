"""The one graph of steps, and what joins them with plug-ins."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import synth_ops
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.endpoints import open_source, open_target
from synth_ops.errors import (
    ArtifactNotFoundError,
    GateFailedError,
    PublishRefusedError,
    RecipeError,
    SynthOpsError,
    UnknownPluginError,
)
from synth_ops.plan import STEPS, step
from synth_ops.recipe import parse_recipe
from synth_ops.registry import PluginKind, chosen
from synth_ops.run import StepResult, latest, open_store, preflight, report_url, run_all, run_step
from synth_ops.store import Store

NAMES = ["snapshot", "fit", "sample", "gate", "publish"]
SHOP = "CREATE TABLE customers AS SELECT i AS id, 'x' || i % 4 AS kind FROM range(80) t(i)"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    import duckdb

    folder = tmp_path_factory.mktemp("recipe")
    with duckdb.connect(str(folder / "shop.duckdb")) as connection:
        connection.execute(SHOP)
    return parse_recipe({"source": "shop.duckdb", "target": "parquet:///out"}).at(folder, "shop")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_each_step_takes_what_the_one_before_makes():
    assert [each.name for each in STEPS] == NAMES
    assert [each.needs for each in STEPS] == [None, *NAMES[:-1]]
    extra = {ArtifactKind.SHARD, ArtifactKind.AUDIT}
    assert [each.makes for each in STEPS] == [kind for kind in ArtifactKind if kind not in extra]
    assert step("fit").needs == "snapshot"
    with pytest.raises(KeyError):
        step("train")


def test_running_all_is_running_each(recipe, store, tmp_path):
    heard: list[StepResult] = []
    together = run_all(recipe, store=store, on_step=heard.append)
    assert heard == together
    recipe.target_location().path.unlink()
    ref, singly = None, []
    other = Store(tmp_path / "other")
    for name in NAMES:
        ref = run_step(recipe, name, store=other, needs=ref).ref
        singly.append(ref)
    assert singly == [result.ref for result in together]
    recipe.target_location().path.unlink()


def test_facts_are_counts_and_names(recipe, store):
    facts = {result.step: result.facts for result in run_all(recipe, store=store)}
    assert facts["snapshot"]["tables"] == facts["sample"]["tables"] == {"customers": 80}
    assert facts["fit"] == {"generator": "relational_trees"}
    assert facts["gate"]["verdict"] == "passed"
    assert facts["gate"]["failed"] == 0
    assert facts["publish"]["target"] == recipe.target_location().label
    for result in facts.values():
        pickle.loads(pickle.dumps(result))


def test_progress_is_told_of_every_step(recipe, store):
    heard = []
    run_all(recipe, store=store, progress=heard.append)
    assert {tick.step for tick in heard} >= set(NAMES[:4])
    assert all(0 <= tick.done <= tick.total for tick in heard)
    assert {tick.item for tick in heard if tick.step == "snapshot"} >= {"customers"}


def test_the_latest_artifact_is_the_one_made_or_found_last(recipe, store):
    with pytest.raises(ArtifactNotFoundError, match="no copy in the store yet"):
        latest(recipe, ArtifactKind.COPY, store=store)
    results = run_all(recipe, store=store)
    assert latest(recipe, ArtifactKind.COPY, store=store) == results[2].ref
    reseeded = recipe.model_copy(update={"seed": 5})
    other = run_step(reseeded, "sample", store=store, needs=results[1].ref)
    assert latest(reseeded, ArtifactKind.COPY, store=store) == other.ref != results[2].ref
    assert latest(recipe, ArtifactKind.COPY, store=store) == results[2].ref


@pytest.mark.parametrize(
    ("name", "kind"), [("fit", "copy"), ("sample", "snapshot"), ("gate", "model"), ("publish", "model")]
)
def test_a_step_refuses_the_wrong_kind_of_artifact(recipe, store, name, kind):
    wrong = ArtifactRef(kind=ArtifactKind(kind), id="0" * 20)
    with pytest.raises(RecipeError, match=f"this step needs a .*, not {kind}"):
        run_step(recipe, name, store=store, needs=wrong)
    with pytest.raises(RecipeError, match="not nothing"):
        run_step(recipe, name, store=store)


def test_an_unknown_step_is_refused(recipe, store):
    with pytest.raises(RecipeError, match="there is no step 'train'"):
        run_step(recipe, "train", store=store)


def test_a_failed_gate_is_an_error_that_knows_its_report(recipe, store):
    strict = recipe.model_copy(
        update={"gate": recipe.gate.model_copy(update={"thresholds": {"fidelity.mean_column_distance": -1.0}})}
    )
    with pytest.raises(GateFailedError) as caught:
        run_all(strict, store=store)
    assert store.exists(ArtifactRef(kind=ArtifactKind.REPORT, id=caught.value.report_id))
    assert latest(strict, ArtifactKind.REPORT, store=store).id == caught.value.report_id
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.report_id) == (str(caught.value), caught.value.report_id)
    with pytest.raises(PublishRefusedError, match="failed its gate"):
        run_step(strict, "publish", store=store, needs=latest(strict, ArtifactKind.COPY, store=store))


def test_a_passed_report_of_a_milder_gate_does_not_help(recipe, store):
    results = {result.step: result.ref for result in run_all(recipe, store=store)}
    stricter = recipe.model_copy(
        update={"gate": recipe.gate.model_copy(update={"thresholds": {"fidelity.mean_column_distance": 0.01}})}
    )
    for needs in (results["gate"], results["sample"]):
        with pytest.raises(PublishRefusedError, match="has not passed the recipe's gate"):
            run_step(stricter, "publish", store=store, needs=needs)


def test_an_unforeseen_error_tells_its_place_and_nothing_else(recipe, store, monkeypatch):
    secret = "ada@example.org"

    class Indiscreet:
        version = "1"

        def state(self):
            raise ValueError(secret)

    monkeypatch.setattr("synth_ops.runners.open_source", lambda _: Indiscreet())
    with pytest.raises(SynthOpsError, match=r"unexpected ValueError at test_plan_run.py:\d+") as caught:
        run_step(recipe, "snapshot", store=store)
    assert secret not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_plug_ins_are_opened_by_scheme(recipe):
    assert type(open_source(recipe)).__name__ == "DuckDBSource"
    assert type(open_target(recipe)).__name__ == "ParquetTarget"
    with pytest.raises(UnknownPluginError, match="no target 'duckdbb'; did you mean 'duckdb'"):
        open_target(recipe.model_copy(update={"target": "duckdbb:///x"}))
    with pytest.raises(PublishRefusedError, match="is the source"):
        open_target(recipe.model_copy(update={"target": "./shop.duckdb"}))


def test_the_store_is_the_one_given_else_the_environments_else_beside_the_recipe(recipe, tmp_path, monkeypatch):
    monkeypatch.delenv("SYNTH_OPS_STORE", raising=False)
    assert open_store(recipe).label == str(recipe.folder / ".synth_ops")
    monkeypatch.setenv("SYNTH_OPS_STORE", str(tmp_path / "set"))
    assert open_store(recipe).label == str(tmp_path / "set")
    assert open_store(recipe, tmp_path / "given").label == str(tmp_path / "given")


def test_other_places_have_other_latest_artifacts(recipe, store, monkeypatch):
    """A recipe whose target a variable names is another one in another environment."""
    monkeypatch.setenv("STAGE", "dev")
    staged = recipe.model_copy(update={"target": "parquet:///${STAGE}"})
    run_step(staged, "snapshot", store=store)
    assert latest(staged, ArtifactKind.SNAPSHOT, store=store)
    monkeypatch.setenv("STAGE", "prod")
    with pytest.raises(ArtifactNotFoundError):
        latest(staged, ArtifactKind.SNAPSHOT, store=store)


def test_the_public_names_are_there():
    assert all(hasattr(synth_ops, name) for name in synth_ops.__all__)


def test_a_copy_of_another_recipe_is_not_this_ones(recipe, store):
    run_all(recipe, store=store)
    for changed in ({"seed": 1}, {"scale": 0.5}, {"generator_settings": {"min_leaf": 200}}):
        with pytest.raises(ArtifactNotFoundError):
            latest(recipe.model_copy(update=changed), ArtifactKind.COPY, store=store)


OTHER_VERSION = """
import sys
import synth_ops
synth_ops.__version__ = "9.9.9"
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.recipe import parse_recipe
from synth_ops.run import run_step
from synth_ops.store import Store

recipe = parse_recipe({"source": sys.argv[1], "target": "parquet:///out"})
try:
    run_step(recipe, "fit", store=Store(sys.argv[2]), needs=ArtifactRef(kind=ArtifactKind.SNAPSHOT, id=sys.argv[3]))
except synth_ops.SynthOpsError as error:
    print(type(error).__name__, error)
"""


def test_a_worker_with_another_version_is_refused_and_both_are_named(recipe, store):
    snapshot = run_step(recipe, "snapshot", store=store).ref
    arguments = [str(recipe.source_location().path), str(store.root), snapshot.id]
    finished = subprocess.run(
        [sys.executable, "-c", OTHER_VERSION, *arguments], capture_output=True, text=True, check=True
    )
    assert finished.stdout.startswith("ArtifactVersionError snapshot")
    assert f"made by synth_ops {synth_ops.__version__}; this worker has 9.9.9" in finished.stdout


def test_preflight_names_what_a_night_will_use_and_makes_nothing(recipe, store):
    found = preflight(recipe, store=store)
    assert found["version"] == synth_ops.__version__
    assert found["checks"] == chosen(PluginKind.CHECK, ())
    assert found["source"] == recipe.source_location().label
    assert not any(store.artifacts(kind) for kind in ArtifactKind)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"generator": "relational_treez"}, UnknownPluginError),
        ({"generator_settings": {"no": 1}}, RecipeError),
        ({"gate": {"suites": ["gone.yaml"]}}, RecipeError),
        ({"target": "shop.duckdb"}, PublishRefusedError),
    ],
)
def test_preflight_stops_what_would_stop_the_night(recipe, store, changes, error):
    with pytest.raises(error):
        preflight(recipe.with_changes(**changes), store=store)


def test_reports_are_read_in_the_store_or_where_they_are_served(store, monkeypatch):
    report = ArtifactRef(kind=ArtifactKind.REPORT, id="r1")
    assert report_url(store, report) == f"file://{store.root}/report/r1/report.html"
    monkeypatch.setenv("SYNTH_OPS_REPORTS_URL", "https://reports.example.org/synth/")
    assert report_url(store, report) == "https://reports.example.org/synth/r1/report.html"
