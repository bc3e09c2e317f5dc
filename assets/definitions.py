"""A Dagster code location: every night at three, snapshot, fit, sample, gate, publish.

Start it with `dagster dev -f assets/definitions.py`, with two variables in the environment:

- `SYNTH_OPS_RECIPE`: the recipe to run; the nycflights example beside this repository when left out.
- `SYNTH_OPS_STORE`: where artifacts are kept, any path or fsspec URL that every worker reaches; a folder beside the
  recipe when left out.

A night whose copy fails the check `gate` publishes nothing: yesterday's copy stays live, and the check says why.
"""

import os
from pathlib import Path

import dagster as dg

from synth_ops.dagster import synthetic_assets

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "nycflights" / "recipe.yaml"

assets = synthetic_assets(
    os.environ.get("SYNTH_OPS_RECIPE", str(EXAMPLE)),
    key_prefix="test_database",
    # only what may pass by itself, such as an unreachable source, is retried
    retry_policy=dg.RetryPolicy(max_retries=2, delay=300),
)
refresh = dg.define_asset_job("refresh_test_database", selection=dg.AssetSelection.assets(*assets))

defs = dg.Definitions(
    assets=assets,
    jobs=[refresh],
    schedules=[dg.ScheduleDefinition(name="nightly_refresh", job=refresh, cron_schedule="0 3 * * *")],
)
