"""`SynthOpsComponent`: a recipe as a Dagster component, in YAML.

No `from __future__ import annotations` here: Dagster reads the annotations of a component.
"""

from pathlib import Path

import dagster as dg
from pydantic import BaseModel, Field

from synth_ops.dagster.assets import synthetic_assets
from synth_ops.dagster.sensors import source_sensor
from synth_ops.dagster.translator import AssetPart, SynthOpsTranslator

_RECIPE = """\
# `synth-ops schema` prints what may stand here, `synth-ops init` writes it from a database
source: {source}
target: {target}
"""


class SynthOpsScaffoldParams(BaseModel):
    """What `dg scaffold defs` may be told."""

    source: str = Field("${SOURCE_URL}", description="The database to copy.")
    target: str = Field("${TARGET_URL}", description="The test database to publish to.")
    schedule: str = Field("0 3 * * *", description="When, as cron writes it.")


class SynthOpsScaffolder(dg.Scaffolder[SynthOpsScaffoldParams]):
    """Writes `defs.yaml`, and beside it the smallest recipe."""

    @classmethod
    def get_scaffold_params(cls) -> type[SynthOpsScaffoldParams]:
        """The command's options."""
        return SynthOpsScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[SynthOpsScaffoldParams]) -> None:
        """Write both files."""
        params = request.params
        folder = request.target_path if request.target_path.is_dir() else request.target_path.parent
        recipe = folder / "recipe.yaml"
        if not recipe.exists():
            recipe.write_text(_RECIPE.format(source=params.source, target=params.target), encoding="utf-8")
        dg.scaffold_component(request, {"recipe": "recipe.yaml", "schedule": params.schedule})


@dg.scaffold_with(SynthOpsScaffolder)
class SynthOpsComponent(dg.Component, dg.Model, dg.Resolvable):
    """A nightly refresh of a test database with gated synthetic data: assets, checks, a job, and what starts it."""

    recipe: str = Field(description="Path of the recipe file, from this folder.")
    name: str | None = Field(None, description="The assets' group; the recipe's name when left out.")
    store: str | None = Field(None, description="Where artifacts are kept; SYNTH_OPS_STORE when left out.")
    key_prefix: list[str] | None = Field(None, description="Put before the assets' names in their keys.")
    tables: list[str] | None = Field(None, description="The published tables that are assets.")
    schedule: str | None = Field(None, description="When to refresh, as cron writes it.")
    on_change: bool = Field(False, description="Refresh when the source has changed, too.")
    fan_out: int = Field(0, ge=0, description="In how many steps a copy is sampled and loaded.")
    retries: int = Field(2, ge=0, description="Of what may pass by itself, such as an unreachable source.")

    def get_asset_spec(self, part: AssetPart) -> dg.AssetSpec:
        """Override to change keys, owners, tags, ... of single assets."""
        return part.default

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The assets, the job `refresh_<group>`, and its schedule and sensor."""
        recipe = Path(context.path) / self.recipe
        assets = synthetic_assets(
            recipe,
            name=self.name,
            store=self.store,
            key_prefix=self.key_prefix,
            tables=self.tables,
            retry_policy=dg.RetryPolicy(max_retries=self.retries, delay=300) if self.retries else None,
            fan_out=self.fan_out,
            translator=_ByComponent(self),
        )
        made = [each for each in assets if isinstance(each, dg.AssetsDefinition)]
        group = next(iter(made[0].specs)).group_name or "synth_ops"
        job = dg.define_asset_job(f"refresh_{group}", selection=dg.AssetSelection.assets(*made))
        schedules = [dg.ScheduleDefinition(job=job, cron_schedule=self.schedule)] if self.schedule else []
        sensors = [source_sensor(recipe, name=f"{group}_source_changed", target=job)] if self.on_change else []
        return dg.Definitions(assets=assets, jobs=[job], schedules=schedules, sensors=sensors)


class _ByComponent(SynthOpsTranslator):
    """Asks the component."""

    def __init__(self, component: SynthOpsComponent) -> None:
        self.component = component

    def get_asset_spec(self, part: AssetPart) -> dg.AssetSpec:
        return self.component.get_asset_spec(part)
