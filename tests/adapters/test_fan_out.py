"""Many workers make what one would: shards drawn and tables loaded apart, also where a generator fails on the way."""

from __future__ import annotations

import dagster as dg
import duckdb
import psycopg
import pytest
from airflow.sdk import DAG

from synth_ops.airflow import synthetic_copy
from synth_ops.artifacts import ArtifactKind
from synth_ops.dagster import Part, SynthOpsTranslator, synthetic_assets
from synth_ops.endpoints import mark_target
from synth_ops.errors import PublishRefusedError
from synth_ops.fan_out import load_tables, plan_tables
from synth_ops.run import run_all, run_step
from synth_ops.store import Store

IN_SHARDS = {"generator_settings": {"shard_cells": 2_000}, "scale": 4}
BETA = "ignore:.*is currently in beta"
"""Dagster's own, of an output's data version."""
TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE' "
    "ORDER BY 1"
)


class ScratchDatabase:
    """A PostgreSQL database to publish to, made anew under the same name for every way to do so."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.url = server.url(name)

    def fresh(self, night):
        """Empty it, and mark it."""
        self.server.execute(f"DROP DATABASE {self.name} WITH (FORCE)", f"CREATE DATABASE {self.name}")
        mark_target(night.recipe, "test", lambda database: database)

    def hashes(self):
        """Of every live table: its rows, in the order in which they stand."""
        with psycopg.connect(self.url) as connection:
            names = [name for (name,) in connection.execute(TABLES).fetchall()]
            query = 'SELECT count(*), md5(string_agg(t::text, chr(10) ORDER BY ctid)) FROM public."{}" AS t'
            return {name: connection.execute(query.format(name)).fetchone() for name in names}

    def keys(self):
        """How many constraints of each kind there are."""
        with psycopg.connect(self.url) as connection:
            query = (
                "SELECT contype::text, count(*) FROM pg_constraint "
                "WHERE connamespace = 'public'::regnamespace GROUP BY 1 ORDER BY 1"
            )
            return connection.execute(query).fetchall()

    def left_over(self):
        """Stages, and schemas of generations that are none."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(
                "SELECT token FROM synth_ops.stage UNION ALL SELECT nspname FROM pg_namespace "
                "WHERE nspname ~ '^synth_ops_[0-9]' AND split_part(nspname, '_', 3)::int NOT IN "
                "(SELECT number FROM synth_ops.generation)"
            ).fetchall()


@pytest.fixture(scope="module")
def testers(postgres_server):
    with postgres_server.database() as name:
        yield ScratchDatabase(postgres_server, name)


@pytest.fixture(scope="module")
def alone(refresh_in, testers, tmp_path_factory):
    """A night in one process: its artifacts, and what is live after it."""
    night = refresh_in(tmp_path_factory.mktemp("alone"), target=testers.url, **IN_SHARDS)
    testers.fresh(night)
    night.run()
    assert testers.left_over() == []
    return night.artifacts(), testers.hashes(), testers.keys()


def test_airflow_maps_shards_and_tables(refresh, run_dag, testers, alone):
    mapped = refresh(store="mapped", target=testers.url, **IN_SHARDS)
    testers.fresh(mapped)
    with DAG("mapped_night", schedule=None) as dag:
        synthetic_copy(mapped.file, store=str(mapped.store), fan_out=3)
    finished = run_dag(dag)
    assert finished.state == "success"
    dealt = finished.xcoms["synthetic_copy.plan_tables"]
    assert len(dealt) == 3
    assert sorted(name for part in dealt for name in part["tables"]) == sorted(alone[1])
    assert finished.tasks["synthetic_copy.tables"] == "success"
    assert (mapped.artifacts(), testers.hashes(), testers.keys()) == alone
    assert testers.left_over() == []


@pytest.mark.filterwarnings(BETA)
def test_dagster_maps_shards_and_tables(refresh, dagster_instance, testers, alone):
    mapped = refresh(store="mapped", target=testers.url, **IN_SHARDS)
    testers.fresh(mapped)
    names = sorted(alone[1])
    assets = synthetic_assets(mapped.file, store=str(mapped.store), fan_out=3, tables=names[1:])
    result = dg.materialize(assets, instance=dagster_instance)
    assert result.success
    steps = [event.step_key for event in result.all_events if event.is_step_success]
    assert len([key for key in steps if "publish_tables[" in key]) == 3
    assert len([key for key in steps if "sample_shards[" in key]) == 3
    assert (mapped.artifacts(), testers.hashes(), testers.keys()) == alone
    assert testers.left_over() == []
    made = {each.asset_key.path[-1]: each.materialization for each in result.get_asset_materialization_events()}
    assert set(made) == {"snapshot", "model", "copy", "report", "publication", *names}  # one that nobody knew of, too
    assert {name: made[name].metadata["dagster/row_count"].value for name in names} == {
        name: rows for name, (rows, _) in alone[1].items()
    }
    copy = made["copy"].metadata["id"].value
    assert {made[name].tags["dagster/data_version"] for name in names} == {copy}
    assert made["customers"].metadata["dagster/column_lineage"].lineage.deps_by_column["email"]


def test_a_file_is_published_by_one_task(refresh, run_dag):
    night = refresh(store="file")
    with DAG("one_file", schedule=None) as dag:
        synthetic_copy(night.file, store=str(night.store), fan_out=2)
    finished = run_dag(dag)
    assert finished.state == "success"
    assert finished.xcoms["synthetic_copy.plan_tables"] == []
    assert finished.tasks["synthetic_copy.tables"] == "skipped"
    assert night.generations() == night.artifacts()["copy"]


@pytest.mark.filterwarnings(BETA)
def test_in_dagster_too(refresh, dagster_instance):
    night = refresh(store="file")
    assets = synthetic_assets(night.file, store=str(night.store), fan_out=2)
    assert dg.materialize(assets, instance=dagster_instance).success
    assert night.generations() == night.artifacts()["copy"]


class AfterOthers(SynthOpsTranslator):
    """Every copy waits for somebody else's asset, too."""

    def get_asset_spec(self, part):
        return part.default.replace_attributes(deps=["agreed"] if part.part is Part.COPY else [])


@pytest.mark.filterwarnings(BETA)
@pytest.mark.parametrize("fan_out", [0, 2])
def test_what_a_translator_adds_to_the_graph_stays(refresh, fan_out):
    assets = synthetic_assets(refresh().file, fan_out=fan_out, translator=AfterOthers())
    deps = {spec.key.path[-1]: {dep.asset_key.path[-1] for dep in spec.deps} for each in assets for spec in specs(each)}
    assert deps["copy"] == {"model", "agreed"}
    assert deps["publication"] == {"report"}


def specs(asset):
    """Of assets, or of one that only stands for others' work."""
    return [asset] if isinstance(asset, dg.AssetSpec) else list(asset.specs)


def test_no_table_of_a_copy_that_failed_gets_anywhere(refresh, testers):
    night = refresh(target=testers.url)
    testers.fresh(night)
    good = Store(night.store)
    report = run_all(night.recipe, store=good)[3].ref
    live = testers.hashes()
    strict = refresh(target=testers.url, seed=1, gate={"thresholds": {"fidelity.mean_column_distance": -1.0}})
    copy = None
    for step in ("snapshot", "fit", "sample"):
        copy = run_step(strict.recipe, step, store=good, needs=copy).ref
    for needs in (copy, report):  # never judged; judged by another gate
        with pytest.raises(PublishRefusedError, match="has not passed"):
            plan_tables(strict.recipe, store=good, needs=needs, tasks=2)
        with pytest.raises(PublishRefusedError, match="has not passed"):
            load_tables(strict.recipe, ["customers"], "token", store=good, needs=needs)
    assert testers.hashes() == live
    assert testers.left_over() == []


def test_what_workers_have_loaded_is_not_read_again(refresh, testers):
    """The last step, on whatever machine, needs no file of a table that is in the target."""
    night = refresh(target=testers.url)
    testers.fresh(night)
    needs = None
    for step in ("snapshot", "fit", "sample", "gate"):
        needs = run_step(night.recipe, step, store=Store(night.store), needs=needs).ref
    for part in plan_tables(night.recipe, store=Store(night.store), needs=needs, tasks=2):
        load_tables(night.recipe, **part, store=Store(night.store), needs=needs)
    files = list((night.store / "copy").rglob("*.parquet"))
    assert files
    for file in files:
        file.unlink()
    published = run_step(night.recipe, "publish", store=Store(night.store), needs=needs)
    assert {name: rows for name, (rows, _) in testers.hashes().items()} == published.facts["tables"]


UNABLE = """
from synth_ops.generators.relational_trees import RelationalTrees

class CannotSample(RelationalTrees):
    version = "1"

    def load(self, folder, metadata):
        return Unlucky(super().load(folder, metadata))

class Unlucky:
    def __init__(self, fitted):
        self.fitted = fitted

    def shards(self, scale):
        return 3

    def sample(self, folder, **given):
        from synth_ops.errors import SampleError
        raise SampleError("it draws nothing", "try another")

    def sample_shard(self, folder, shard, **given):
        if shard == 1:
            self.sample(folder)
        return self.fitted.sample_shard(folder, shard, **given)
"""


@pytest.fixture
def unable(refresh, install):
    """A recipe of two generators: the first, another package's, learns and then can't draw one of its shards."""
    install("unable", "CannotSample", UNABLE)

    def write(*generators):
        return refresh(generator=list(generators))

    return write


def makers(night, copies=None):
    """The generators that made some copies, or all in the store."""
    store = Store(night.store)
    wanted = [copy for copy in store.artifacts(ArtifactKind.COPY) if copies is None or copy.id in copies]
    models = {store.facts(copy)["model"]["id"] for copy in wanted}
    made_by = {ref.id: store.facts(ref)["generator"] for ref in store.artifacts(ArtifactKind.MODEL)}
    return sorted(made_by[model] for model in models)


@pytest.mark.parametrize("fan_out", [0, 2])
def test_airflow_falls_down_the_ladder(unable, run_dag, fan_out):
    night = unable("unable", "relational_trees")
    with DAG(f"ladder_{fan_out}", schedule=None) as dag:
        synthetic_copy(night.file, store=str(night.store), fan_out=fan_out, steps=("snapshot", "fit", "sample"))
    finished = run_dag(dag)
    assert finished.state == "success"
    assert finished.results["fit"]["facts"]["generator"] == "unable"
    assert finished.results["sample"]["facts"]["instead_of"] == "unable: it draws nothing"
    assert makers(night) == ["relational_trees"]


@pytest.mark.filterwarnings(BETA)
@pytest.mark.parametrize("fan_out", [0, 2])
def test_dagster_falls_down_the_ladder(unable, dagster_instance, fan_out):
    night = unable("unable", "relational_trees")
    assets = synthetic_assets(night.file, store=str(night.store), fan_out=fan_out)
    selection = [f"shop/synth_ops/{kind}" for kind in ("snapshot", "model", "copy")]
    result = dg.materialize(assets, selection=selection, instance=dagster_instance)
    assert result.success
    made = {each.asset_key.path[-1]: each.materialization for each in result.get_asset_materialization_events()}
    assert made["model"].metadata["generator"].value == "unable"
    assert made["copy"].metadata["instead_of"].value == "unable: it draws nothing"
    assert makers(night) == ["relational_trees"]


def test_the_last_of_the_ladder_fails_where_it_fails(unable, run_dag):
    night = unable("unable")
    with DAG("last_rung", schedule=None) as dag:
        synthetic_copy(night.file, store=str(night.store), fan_out=2, retries=0)
    finished = run_dag(dag)
    assert finished.state == "failed"
    assert finished.tasks["synthetic_copy.publish"] == "upstream_failed"
    assert night.generations() == []


PAIRS = ", ".join(f"if(hash(r * {n}) % 100 < 88, z, 1 - z) AS v{n}" for n in (3, 5, 7, 11, 13, 17))
VOTES = f"CREATE TABLE vote AS SELECT r AS id, {PAIRS} FROM (SELECT range AS r, hash(range) % 2 AS z FROM range(4000))"
"""Six columns that depend on each other, each pair alike: a tree of pairs loses most of them."""
VOTES_GATE = {
    "policy": "off-for-privacy",
    "reason": "nobody's votes",
    "thresholds": {"fidelity.mean_pair_distance": 0.04},
}


@pytest.fixture
def votes(refresh, tmp_path):
    """A recipe whose first generator's copy fails the gate, and whose second one's passes."""
    with duckdb.connect(str(tmp_path / "votes.duckdb")) as connection:
        connection.execute(VOTES)
    return refresh(source="votes.duckdb", generator=["marginal_tree", "relational_trees"], gate=VOTES_GATE)


def test_airflow_goes_on_where_a_copy_fails_its_gate(votes, run_dag):
    with DAG("gate_ladder", schedule=None) as dag:
        synthetic_copy(votes.file, store=str(votes.store))
    finished = run_dag(dag)
    assert finished.state == "success"
    assert finished.events["shop/report"]["extra"]["verdict"] == "passed"
    assert finished.results["gate"]["facts"]["instead_of"].startswith("marginal_tree: its copy failed the gate")
    assert makers(votes) == ["marginal_tree", "relational_trees"]
    assert makers(votes, votes.generations()) == ["relational_trees"]


def test_dagster_goes_on_where_a_copy_fails_its_gate(votes, dagster_instance):
    result = dg.materialize(synthetic_assets(votes.file, store=str(votes.store)), instance=dagster_instance)
    assert result.success
    made = {each.asset_key.path[-1]: each.materialization for each in result.get_asset_materialization_events()}
    assert made["report"].metadata["instead_of"].value.startswith("marginal_tree: its copy failed the gate")
    assert {check.passed for check in result.get_asset_check_evaluations() if check.check_name == "gate"} == {True}
    assert makers(votes) == ["marginal_tree", "relational_trees"]
    assert makers(votes, votes.generations()) == ["relational_trees"]
