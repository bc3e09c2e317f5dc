"""A nightly refresh on many workers at once: Celery's, Kubernetes', or this machine's own.

The workers' environment names the recipe and the store (`SYNTH_OPS_RECIPE`, `SYNTH_OPS_STORE`) as for
`nightly_refresh.py`; here, the store must be one that all workers reach. The task `plan_shards` deals the parts of the
copy to at most `SYNTH_OPS_FAN_OUT` mapped tasks, and `sample` puts them together: the same copy as from one worker.
`plan_tables` deals its tables in the same way, and `publish` swaps in what was loaded. What can't be parted, such as
the publication of a file, is done by one task.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG

from synth_ops.airflow import synthetic_copy

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "nycflights" / "recipe.yaml"

with DAG(
    dag_id="fan_out_refresh",
    doc_md=__doc__,
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001  (Airflow reads it in its own default time zone)
    catchup=False,
    max_active_runs=1,
    tags=["synth_ops"],
):
    synthetic_copy(
        os.environ.get("SYNTH_OPS_RECIPE", str(EXAMPLE)),
        fan_out=int(os.environ.get("SYNTH_OPS_FAN_OUT", "4")),
        step_kwargs={"shards": {"pool": "default_pool", "retries": 3}, "tables": {"max_active_tis_per_dagrun": 2}},
        retries=2,
        retry_delay=timedelta(minutes=5),
    )
