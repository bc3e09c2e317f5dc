"""Refresh when the warehouse was loaded, and test when the refresh is done: DAGs that wait for assets, not for hours.

The workers' environment names the recipe and the store (`SYNTH_OPS_RECIPE`, `SYNTH_OPS_STORE`) as for
`nightly_refresh.py`. The first DAG waits for the asset `warehouse`, which the DAG that loads it emits; the second one
waits for the publication, and reads what was published, and how good it is, from the event that woke it.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import Asset, dag, task

from synth_ops.airflow import synthetic_asset, synthetic_copy

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "nycflights" / "recipe.yaml"
WAREHOUSE = Asset("warehouse")
PUBLISHED = synthetic_asset("test_database")


@dag(schedule=[WAREHOUSE], tags=["synth_ops"], doc_md=__doc__, max_active_runs=1)
def refresh_on_asset():
    """Refresh the test database whenever the warehouse has changed."""
    synthetic_copy(os.environ.get("SYNTH_OPS_RECIPE", str(EXAMPLE)), asset="test_database")


@dag(schedule=[PUBLISHED], tags=["synth_ops"], doc_md=__doc__)
def test_on_refresh():
    """Run what tests against the fresh database."""

    @task(inlets=[PUBLISHED])
    def integration_tests(*, inlet_events):
        published = inlet_events[PUBLISHED][-1].extra
        print(f"testing generation {published['generation']}: {published['tables']}")  # noqa: T201
        return published["generation"]

    integration_tests()


refresh_on_asset()
test_on_refresh()
