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

GATES = {"passed": {}, "failed": {"thresholds": {"fidelity.column_distance": -1.0}}}


def leaks(*places: Path) -> Iterator[str]:
    """The files below some folders that hold a canary's bytes."""
    files = (file for place in places for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file())
    for file in files:
        content = file.read_bytes()
        for canary in CANARIES:
            if canary.encode() in content:
                yield f"{canary} in {file}"


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


@pytest.mark.parametrize("verdict", GATES)
def test_airflow_keeps_and_prints_no_source_value(refresh, run_dag, airflow_db, printed, verdict):
    night = refresh(gate=GATES[verdict])
    with DAG(f"canaries_{verdict}", schedule=None) as dag:
        synthetic_copy(night.file, store=str(night.store))
    finished = run_dag(dag)
    assert finished.state == ("success" if verdict == "passed" else "failed")
    said = printed()
    assert "snapshot" in said
    assert not [canary for canary in CANARIES if canary in said]
    assert list(leaks(airflow_db.parent, night.store / "report", night.store / "model")) == []


@pytest.mark.parametrize("verdict", GATES)
def test_dagster_keeps_and_prints_no_source_value(refresh, dagster_instance, tmp_path, printed, verdict):
    night = refresh(gate=GATES[verdict])
    assets = synthetic_assets(night.file, store=str(night.store))
    result = dg.materialize(assets, instance=dagster_instance, raise_on_error=False)
    assert result.success is (verdict == "passed")
    said = printed()
    assert "snapshot" in said
    assert not [canary for canary in CANARIES if canary in said]
    assert any((tmp_path / "dagster").rglob("*.db"))
    assert list(leaks(tmp_path / "dagster", night.store / "report", night.store / "model")) == []


def test_the_published_copy_holds_no_source_value(refresh):
    night = refresh()
    night.run()
    values = published(night.recipe.target_location().path)
    assert not [canary for canary in CANARIES if canary in values]
