"""A Dagster code location: every night at three, and whenever the source has changed, refresh the test database.

Start it with `dagster dev -f assets/definitions.py`, with these variables in the environment:

- `SYNTH_OPS_RECIPE`: the recipe to run; the nycflights example beside this repository when left out.
- `SYNTH_OPS_STORE`: where artifacts are kept, any path or fsspec URL that every worker reaches; a folder beside the
  recipe when left out.
- `SYNTH_OPS_FAN_OUT`: in how many steps at a time a copy is sampled, and loaded; in one when left out.

A night whose copy fails one of the checks on `report` publishes nothing: yesterday's copy stays live, and the check
says why.
"""

import os
from pathlib import Path

import dagster as dg

from synth_ops.dagster import AssetPart, SynthOpsTranslator, source_sensor, synthetic_assets

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "nycflights" / "recipe.yaml"
RECIPE = os.environ.get("SYNTH_OPS_RECIPE", str(EXAMPLE))


class Owned(SynthOpsTranslator):
    """Says whose the assets are."""

    def get_asset_spec(self, part: AssetPart) -> dg.AssetSpec:
        """The asset as it would be, with an owner."""
        return part.default.replace_attributes(owners=["team:test-data"])


assets = synthetic_assets(
    RECIPE,
    key_prefix="test_database",
    fan_out=int(os.environ.get("SYNTH_OPS_FAN_OUT", "0")),
    # only what may pass by itself, such as an unreachable source, is retried
    retry_policy=dg.RetryPolicy(max_retries=2, delay=300),
    translator=Owned(),
)
refresh = dg.define_asset_job("refresh_test_database", selection=dg.AssetSelection.key_prefixes("test_database"))

defs = dg.Definitions(
    assets=assets,
    jobs=[refresh],
    schedules=[dg.ScheduleDefinition(name="nightly_refresh", job=refresh, cron_schedule="0 3 * * *")],
    sensors=[source_sensor(RECIPE, name="source_changed", target=refresh)],
)
