"""Fit on Sundays, sample every night: production is read once a week, and testers get other rows every morning.

The workers' environment names the recipe and the store (`SYNTH_OPS_RECIPE`, `SYNTH_OPS_STORE`) as for
`nightly_refresh.py`. The weekly DAG leaves a model in the store; the nightly one takes the latest that is there, and
draws from it with the night's date for a seed.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG

from synth_ops.airflow import synthetic_copy

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "nycflights" / "recipe.yaml"
RECIPE = os.environ.get("SYNTH_OPS_RECIPE", str(EXAMPLE))
# a run that was started by hand, or by an asset, has no logical date
NIGHT = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%d') }}"
COMMON = {
    "start_date": datetime(2026, 1, 1),  # noqa: DTZ001  (Airflow reads it in its own default time zone)
    "catchup": False,
    "max_active_runs": 1,
    "tags": ["synth_ops"],
    "default_args": {"retries": 2, "retry_delay": timedelta(minutes=5)},
}

with DAG(dag_id="weekly_fit", schedule="0 1 * * 0", doc_md=__doc__, **COMMON):
    synthetic_copy(RECIPE, group_id="learn", steps=("snapshot", "fit"))

with DAG(dag_id="nightly_sample", schedule="0 3 * * *", doc_md=__doc__, **COMMON):
    synthetic_copy(RECIPE, group_id="refresh", steps=("sample", "gate", "publish"), seed=NIGHT)
