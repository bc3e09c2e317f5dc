"""Source values stay out of everything that an orchestrator keeps or prints, also when a night fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from airflow.sdk import DAG

from synth_ops.airflow import synthetic_copy
from synth_ops.dagster import synthetic_assets
from synth_ops.testing.warehouses import CANARIES

SECTIONS = {"passed": {}, "failed": {"gate": {"thresholds": {"fidelity.mean_column_distance": -1.0}}}}

INDISCREET = """
import pyarrow.parquet as pq

class Indiscreet:
    version = "1"

    def fit(self, snapshot, folder, *, progress):
        row = pq.read_table(snapshot.tables["customers"].files[0]).to_pylist()[0]
        try:
            float(row["email"])
        except ValueError as error:
            raise ValueError(f"can't learn from {row}") from error

    def load(self, folder, metadata):
        raise AssertionError("nothing was fitted")
"""


def leaks(*places: Path) -> Iterator[str]:
    """The files below some folders that hold a canary's bytes."""
    files = (file for place in places for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file())
    for file in files:
        content = file.read_bytes()
        for canary in CANARIES:
            if canary.encode() in content:
                yield f"{canary} in {file}"


def kept(store: Path) -> list[Path]:
    """All that a store keeps but the snapshots."""
    places = [place for place in store.iterdir() if place.name != "snapshot"]
    assert {place.name for place in places} >= {"model", "copy", "report", "log", "memo"}
    return places


def published(path: Path) -> str:
    """Every value of a published DuckDB file."""
    with duckdb.connect(str(path), read_only=True) as connection:
        query = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
        tables = connection.execute(query).fetchall()
        assert len(tables) >= 7
        return str([connection.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall() for schema, table in tables])


@pytest.fixture
def printed(capfd, caplog) -> Callable[[], str]:
    """All that was written to the terminal or logged until now."""
    return lambda: "".join(capfd.readouterr()) + caplog.text


def test_the_search_finds_what_is_there(warehouse):
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute(f"COPY customers TO '{warehouse.parent / 'customers.csv'}'")
    assert {found.split()[0] for found in leaks(warehouse.parent / "customers.csv")} == set(CANARIES)


@pytest.fixture
def indiscreet(refresh, install):
    """A recipe whose generator, another package's, breaks with a row in its message."""
    install("indiscreet", "Indiscreet", INDISCREET)
    return refresh(generator="indiscreet")


def test_airflow_hears_no_value_from_an_indiscreet_plug_in(indiscreet, run_dag, airflow_db, printed):
    with DAG("indiscreet", schedule=None) as dag:
        synthetic_copy(indiscreet.file, store=str(indiscreet.store))
    assert run_dag(dag).tasks["synthetic_copy.fit"] == "failed"
    said = printed()
    assert "unexpected ValueError at indiscreet.py" in said
    assert not [canary for canary in CANARIES if canary in said]
    assert list(leaks(airflow_db.parent)) == []


def test_dagster_hears_no_value_from_an_indiscreet_plug_in(indiscreet, dagster_instance, tmp_path, printed):
    assets = synthetic_assets(indiscreet.file, store=str(indiscreet.store))
    result = dg.materialize(assets, instance=dagster_instance, raise_on_error=False)
    assert [event.asset_key.path[-1] for event in result.get_asset_materialization_events()] == ["snapshot"]
    said = printed()
    assert "unexpected ValueError at indiscreet.py" in said
    assert not [canary for canary in CANARIES if canary in said]
    assert list(leaks(tmp_path / "dagster")) == []


@pytest.mark.parametrize("verdict", SECTIONS)
def test_airflow_keeps_and_prints_no_source_value(refresh, run_dag, airflow_db, printed, verdict):
    night = refresh(**SECTIONS[verdict])
    with DAG(f"canaries_{verdict}", schedule=None) as dag:
        synthetic_copy(night.file, store=str(night.store))
    finished = run_dag(dag)
    assert finished.state == ("success" if verdict == "passed" else "failed")
    said = printed()
    assert "snapshot" in said
    assert not [canary for canary in CANARIES if canary in said]
    assert list(leaks(airflow_db.parent, *kept(night.store))) == []


@pytest.mark.parametrize("verdict", SECTIONS)
def test_dagster_keeps_and_prints_no_source_value(refresh, dagster_instance, tmp_path, printed, verdict):
    night = refresh(**SECTIONS[verdict])
    assets = synthetic_assets(night.file, store=str(night.store))
    result = dg.materialize(assets, instance=dagster_instance, raise_on_error=False)
    assert result.success is (verdict == "passed")
    said = printed()
    assert "snapshot" in said
    assert not [canary for canary in CANARIES if canary in said]
    assert any((tmp_path / "dagster").rglob("*.db"))
    assert list(leaks(tmp_path / "dagster", *kept(night.store))) == []


def test_the_published_copy_holds_no_source_value(refresh):
    night = refresh()
    night.run()
    values = published(night.recipe.target_location().path)
    assert not [canary for canary in CANARIES if canary in values]
