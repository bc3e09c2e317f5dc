"""Every night at three: snapshot, fit, sample, gate, publish.

Drop this file into Airflow's dags folder and set two variables in the environment of the workers:

- `SYNTH_OPS_RECIPE`: the recipe to run; the nycflights example beside this repository when left out.
- `SYNTH_OPS_STORE`: where artifacts are kept, any path or fsspec URL that every worker reaches; a folder beside the
  recipe when left out.

A night whose copy fails its gate publishes nothing: yesterday's copy stays live, and the task `gate` says why.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG

from synth_ops.airflow import synthetic_copy

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "nycflights" / "recipe.yaml"

with DAG(
    dag_id="nightly_refresh",
    description="Refresh the test database with a gated synthetic copy.",
    doc_md=__doc__,
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001  (Airflow reads it in its own default time zone)
    catchup=False,
    max_active_runs=1,
    tags=["synth_ops"],
):
    synthetic_copy(
        os.environ.get("SYNTH_OPS_RECIPE", str(EXAMPLE)),
        retries=2,  # only what may pass by itself, such as an unreachable source, is retried
        retry_delay=timedelta(minutes=5),
        execution_timeout=timedelta(hours=2),
    )
