"""A recipe's artifacts and published tables as assets. A step finds what it needs in the event log, by id.

No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from synth_ops import plan
from synth_ops.dagster.execution import GATE, Execution, told_to_dagster
from synth_ops.dagster.fan_out import PARTED, fanned_out
from synth_ops.dagster.translator import AssetPart, Part, SynthOpsTranslator, default_spec
from synth_ops.recipe import Recipe, load_recipe
from synth_ops.registry import PluginKind, chosen
from synth_ops.run import known_tables

_AT_RUN_TIME = "${SYNTH_OPS_RESOURCE}"


def synthetic_assets(  # noqa: PLR0913  what differs from asset to asset is the translator's
    recipe: str | os.PathLike[str] | Recipe,
    *,
    name: str | None = None,
    store: str | None = None,
    key_prefix: str | Sequence[str] | None = None,
    tables: Sequence[str] | None = None,
    resource_keys: dict[str, str] | None = None,
    partitions_def: dg.PartitionsDefinition | None = None,
    automation_condition: dg.AutomationCondition[Any] | None = None,
    retry_policy: dg.RetryPolicy | None = None,
    fan_out: int = 0,
    translator: SynthOpsTranslator | None = None,
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Draw a recipe as the assets `snapshot`, `model`, `copy`, `report`, `publication`, and one for each table.

    The report carries a blocking check for each family of checks (`integrity`, `fidelity`, `privacy`, ...) and one for
    the verdict, `gate`: a copy that fails is not published. To materialize `publication` by itself is no way around:
    without a passed gate for that very copy the step refuses.

    Args:
        recipe: Path of a recipe file, read now, or a `Recipe`. Its `${NAME}` variables are read when a step runs.
        name: The assets' group; the recipe's name when left out.
        store: Where artifacts are kept, any fsspec path that every worker reaches; the environment's
            `SYNTH_OPS_STORE` when left out, else a folder beside the recipe.
        key_prefix: Put before the assets' names in their keys; the group's name when left out.
        tables: The published tables that are assets; when left out, those of the latest snapshot in the store, or
            before the first one those that the recipe names. Others are reported when they are published.
        resource_keys: Under which keys the resources `source`, `target` and `store` are, instead of the recipe's URLs.
        partitions_def: Days, say: a partition is the refresh of that day. A backfill refreshes once for all of them.
        automation_condition: When to materialize by itself, such as `dg.AutomationCondition.on_cron("0 3 * * *")`.
        retry_policy: For what may succeed later, such as an unreachable source; all else fails at once.
        fan_out: In how many steps the copy may be sampled, and its tables loaded, at the same time, wherever the run
            launcher and the executor put them; the copy is the same for any number.
        translator: Changes keys, groups, owners, ... of single assets.

    Returns:
        The source's tables as they stand, and the assets with their checks, for `dg.Definitions(assets=...)`.

    Raises:
        RecipeError: The recipe can't be read.
    """
    drawing = _draw(recipe, name, store, key_prefix, tables, resource_keys or {}, translator)
    settings: dict[str, Any] = {"partitions_def": partitions_def, "retry_policy": retry_policy}
    if partitions_def is not None:
        settings["backfill_policy"] = dg.BackfillPolicy.single_run()
    made = [
        drawing.fanned_out(step, fan_out, automation_condition, settings)
        if fan_out and step.makes in PARTED
        else drawing.assets(step, automation_condition, settings)
        for step in plan.STEPS
    ]
    return [*drawing.specs(Part.SOURCE_TABLE), *made]


def synthetic_asset_specs(
    recipe: str | os.PathLike[str] | Recipe,
    *,
    name: str | None = None,
    store: str | None = None,
    key_prefix: str | Sequence[str] | None = None,
    tables: Sequence[str] | None = None,
    translator: SynthOpsTranslator | None = None,
) -> list[dg.AssetSpec]:
    """The same assets without execution: for a refresh that runs elsewhere, in Airflow or from a shell.

    Args:
        recipe, name, store, key_prefix, tables, translator: As of `synthetic_assets`.
    """
    drawing = _draw(recipe, name, store, key_prefix, tables, {}, translator)
    return [spec for part in Part for spec in drawing.specs(part)]


def _draw(
    recipe: str | os.PathLike[str] | Recipe,
    name: str | None,
    store: str | None,
    key_prefix: str | Sequence[str] | None,
    tables: Sequence[str] | None,
    resource_keys: dict[str, str],
    translator: SynthOpsTranslator | None,
) -> "Drawing":
    if unknown := sorted(set(resource_keys) - {"source", "target", "store"}):
        raise ValueError(f"resource_keys names {', '.join(unknown)}; it may name source, target and store")
    elsewhere = {end: _AT_RUN_TIME for end in ("source", "target") if end in resource_keys}
    loaded = recipe.with_locations(**elsewhere) if isinstance(recipe, Recipe) else load_recipe(recipe, **elsewhere)
    group = re.sub(r"\W", "_", name or loaded.name, flags=re.ASCII)
    return Drawing(
        recipe=loaded,
        store=store,
        group=group,
        prefix=(key_prefix,) if isinstance(key_prefix, str) else tuple(key_prefix or (group,)),
        tables=tuple(tables) if tables is not None else known_tables(loaded, store),
        resource_keys=resource_keys,
        translator=translator or SynthOpsTranslator(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One recipe, as it is drawn."""

    recipe: Recipe
    store: str | None
    group: str
    prefix: tuple[str, ...]
    tables: tuple[str, ...]
    resource_keys: dict[str, str]
    translator: SynthOpsTranslator

    def spec(self, part: Part, table: str | None = None) -> dg.AssetSpec:
        """The asset's spec, as the translator wants it; without its dependencies."""
        default = default_spec(part, table, prefix=self.prefix, group=self.group)
        return self.translator.get_asset_spec(
            AssetPart(recipe=self.recipe.name, part=part, table=table, default=default)
        )

    def specs(self, part: Part) -> list[dg.AssetSpec]:
        """All assets of a part, with their dependencies."""
        upstream = [self.spec(Part.SOURCE_TABLE, table).key for table in self.tables] if part is Part.SNAPSHOT else []
        if before := _part_before(part):
            upstream = [self.spec(before).key]
        own = self.tables if part in (Part.SOURCE_TABLE, Part.TABLE) else (None,)
        found = [self.spec(part, table) for table in own]
        return [spec.replace_attributes(deps=[*spec.deps, *upstream]) for spec in found]

    def assets(
        self,
        step: plan.Step,
        condition: dg.AutomationCondition[Any] | None,
        settings: dict[str, Any],
    ) -> dg.AssetsDefinition:
        """The step that makes one artifact, and of the last one the tables."""
        part, specs = Part(step.makes.value), self._made(step, condition)
        checks = [
            dg.AssetCheckSpec(name, asset=specs[0].key, blocking=True)
            for name in (self.families() if part is Part.REPORT else [])
        ]

        @dg.multi_asset(
            name=f"{self.group}__{step.name}",
            specs=specs,
            check_specs=checks,
            can_subset=part is Part.PUBLICATION,
            required_resource_keys=set(self.resource_keys.values()),
            **settings,
        )
        def run(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]  # noqa: ANN202  an iterator
            with told_to_dagster():
                yield from Execution(drawing=self, context=context, step=step).execute(context.selected_asset_keys)

        return run

    def fanned_out(
        self,
        step: plan.Step,
        tasks: int,
        condition: dg.AutomationCondition[Any] | None,
        settings: dict[str, Any],
    ) -> dg.AssetsDefinition:
        """The same, worked on in several steps."""
        return fanned_out(
            self._made(step, condition),
            kind=step.makes,
            name=f"{self.group}__{step.name}",
            tasks=tasks,
            execution=lambda context: Execution(drawing=self, context=context, step=step),
            resource_keys=set(self.resource_keys.values()),
            **settings,
        )

    def _made(self, step: plan.Step, condition: dg.AutomationCondition[Any] | None) -> list[dg.AssetSpec]:
        """The specs of what a step makes."""
        part = Part(step.makes.value)
        specs = [*self.specs(part), *(self.specs(Part.TABLE) if part is Part.PUBLICATION else [])]
        if condition is None:
            return specs
        return [spec.replace_attributes(automation_condition=condition) for spec in specs]

    def families(self) -> list[str]:
        """The names of the report's checks."""
        gate = self.recipe.gate
        own = ["suite"] if gate.suites or gate.python_suites else []
        return [*chosen(PluginKind.CHECK, gate.also), *own, GATE]


def _part_before(part: Part) -> Part | None:
    """The artifact that a part is made from; source tables stand first, and a table is of its publication."""
    if part in (Part.SOURCE_TABLE, Part.TABLE):
        part = Part.SNAPSHOT if part is Part.SOURCE_TABLE else Part.PUBLICATION
    takes = next(each for each in plan.STEPS if each.makes.value == part.value).takes
    return Part(takes.value) if takes else None
