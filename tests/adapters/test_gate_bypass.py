"""Nothing is published without a passed gate for this very copy, whoever asks; what was live stays live."""

from __future__ import annotations

import shutil

import dagster as dg
import pytest
from airflow.sdk import DAG

from synth_ops.airflow import SynthPublishOperator, synthetic_copy
from synth_ops.artifacts import ArtifactKind
from synth_ops.dagster import synthetic_assets
from synth_ops.errors import ArtifactTamperedError, GateFailedError, PublishRefusedError
from synth_ops.run import run_step
from synth_ops.store import Store

IMPOSSIBLE = {"thresholds": {"fidelity.mean_column_distance": -1.0}}


@pytest.fixture(scope="module")
def yesterday(refresh_in, tmp_path_factory):
    """A good copy, published once; not to be changed."""
    good = refresh_in(tmp_path_factory.mktemp("yesterday"), store="yesterday")
    good.run()
    return good


@pytest.fixture
def live(yesterday, tmp_path) -> list[str]:
    """What the target serves before anybody tries: one good copy."""
    shutil.copytree(yesterday.file.parent, tmp_path, symlinks=True, dirs_exist_ok=True)
    return yesterday.generations()


@pytest.fixture
def blocked(refresh, live):
    """The same target, another copy, and a gate that no copy passes."""
    return refresh(seed=1, gate=IMPOSSIBLE)


@pytest.fixture(scope="module")
def today(refresh_in, yesterday, tmp_path_factory):
    """The same, after a night that was blocked; not to be changed."""
    folder = tmp_path_factory.mktemp("today")
    shutil.copytree(yesterday.file.parent, folder, symlinks=True, dirs_exist_ok=True)
    night = refresh_in(folder, seed=1, gate=IMPOSSIBLE)
    with pytest.raises(GateFailedError) as failure:
        night.run()
    assert failure.value.report_id == night.only(ArtifactKind.REPORT).id
    assert night.generations() == yesterday.generations()
    return night


@pytest.fixture
def failed(blocked, today):
    """What is blocked, after its night."""
    shutil.copytree(today.store, blocked.store)
    return blocked


@pytest.mark.parametrize("kind", [ArtifactKind.COPY, ArtifactKind.REPORT])
def test_core_refuses_a_copy_that_failed(live, failed, kind):
    with pytest.raises(PublishRefusedError):
        run_step(failed.recipe, "publish", store=Store(failed.store), needs=failed.only(kind))
    assert failed.generations() == live


def test_core_refuses_a_copy_that_was_never_judged(live, refresh):
    recipe = refresh(seed=1).recipe
    store = Store(recipe.folder / "store")
    ref = None
    for step in ("snapshot", "fit", "sample"):
        ref = run_step(recipe, step, store=store, needs=ref).ref
    with pytest.raises(PublishRefusedError):
        run_step(recipe, "publish", store=store, needs=ref)
    assert refresh().generations() == live


def test_core_refuses_the_verdict_of_another_gate(refresh, live):
    strict = refresh(store="yesterday", gate=IMPOSSIBLE)
    assert strict.generations() == live
    strict.recipe.target_location().path.unlink()
    for kind in (ArtifactKind.COPY, ArtifactKind.REPORT):
        with pytest.raises(PublishRefusedError):
            run_step(strict.recipe, "publish", store=Store(strict.store), needs=strict.only(kind))
    assert strict.generations() == []


def test_core_refuses_a_forged_verdict(live, failed):
    manifest = failed.store / "report" / failed.only(ArtifactKind.REPORT).id / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"verdict": "failed"', '"verdict": "passed"'))
    with pytest.raises(ArtifactTamperedError):
        run_step(failed.recipe, "publish", store=Store(failed.store), needs=failed.only(ArtifactKind.COPY))
    assert failed.generations() == live


def test_the_command_line_stops_at_the_gate_and_refuses_when_only_publish_runs(live, blocked, synth_ops):
    night = synth_ops("run", blocked.file, "--store", blocked.store)
    assert night.returncode == 3, night.stderr
    for source in ([], ["--from", blocked.only(ArtifactKind.COPY).id]):
        alone = synth_ops("publish", blocked.file, "--store", blocked.store, *source)
        assert alone.returncode == 4, alone.stderr
        assert "failed its gate" in alone.stderr
    assert blocked.generations() == live


def test_airflow_stops_at_the_gate(live, blocked, run_dag):
    with DAG("gate_fails", schedule=None) as dag:
        synthetic_copy(blocked.file, store=str(blocked.store), retries=3)
    finished = run_dag(dag)
    assert finished.state == "failed"
    assert finished.tasks == {
        "synthetic_copy.snapshot": "success",
        "synthetic_copy.fit": "success",
        "synthetic_copy.sample": "success",
        "synthetic_copy.gate": "failed",
        "synthetic_copy.publish": "upstream_failed",
        "synthetic_copy.preflight": "success",
        "synthetic_copy.tidy": "success",
    }
    assert blocked.generations() == live


def test_airflow_refuses_when_only_publish_runs(live, failed, run_dag):
    with DAG("only_publish", schedule=None) as dag:
        for kind in (ArtifactKind.COPY, ArtifactKind.REPORT):
            needs = failed.only(kind).to_json()
            SynthPublishOperator(task_id=kind.value, recipe=failed.file, store=str(failed.store), needs=needs)
    finished = run_dag(dag)
    assert finished.tasks == {"copy": "failed", "report": "failed"}
    assert failed.generations() == live


def test_dagster_stops_at_the_gate_and_refuses_when_only_publish_runs(live, blocked, dagster_instance):
    assets = synthetic_assets(blocked.file, store=str(blocked.store))
    night = dg.materialize(assets, instance=dagster_instance, raise_on_error=False)
    assert not night.success
    assert [event.asset_key.path[-1] for event in night.get_asset_materialization_events()] == [
        "snapshot",
        "model",
        "copy",
        "report",
    ]
    gate = {check.check_name: check for check in night.get_asset_check_evaluations()}
    assert {name: (check.passed, check.severity) for name, check in gate.items() if not check.passed} == {
        "fidelity": (False, dg.AssetCheckSeverity.ERROR),
        "gate": (False, dg.AssetCheckSeverity.ERROR),
        "privacy": (False, dg.AssetCheckSeverity.WARN),  # the employees can't be held out beside the customers
    }
    assert gate["gate"].metadata["id"].value == blocked.only(ArtifactKind.REPORT).id

    alone = dg.materialize(
        assets, selection=["shop/synth_ops/publication"], instance=dagster_instance, raise_on_error=False
    )
    assert not alone.success
    (failure,) = alone.get_step_failure_events()
    assert "failed its gate" in failure.step_failure_data.user_failure_data.description
    assert alone.get_asset_materialization_events() == []
    assert blocked.generations() == live
