"""A recipe's artifacts and published tables as assets. A step finds what it needs in the event log, by id.

No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from synth_ops import plan
from synth_ops.artifact_io import read_metadata, read_report
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.dagster.metadata import artifact_metadata, family_result, report_metadata, table_metadata
from synth_ops.dagster.resources import url_of
from synth_ops.dagster.translator import AssetPart, Part, SynthOpsTranslator, default_spec
from synth_ops.errors import GateFailedError, SynthOpsError
from synth_ops.lineage import table_dataset
from synth_ops.ports import Progress
from synth_ops.recipe import Recipe, load_recipe
from synth_ops.registry import PluginKind, names
from synth_ops.run import StepResult, known_tables, open_store, run_step
from synth_ops.store import Store
from synth_ops.verdict import families

GATE = "gate"
"""The check that stands for the verdict as a whole."""
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
    return [
        *drawing.specs(Part.SOURCE_TABLE),
        *(drawing.assets(step, automation_condition, settings) for step in plan.STEPS),
    ]


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
        part = Part(step.makes.value)
        specs = [*self.specs(part), *(self.specs(Part.TABLE) if part is Part.PUBLICATION else [])]
        if condition is not None:
            specs = [spec.replace_attributes(automation_condition=condition) for spec in specs]
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
            try:
                yield from _Run(drawing=self, context=context).execute(step)
            except SynthOpsError as error:
                if error.retryable:
                    raise
                raise dg.Failure(str(error), allow_retries=False) from None

        return run

    def families(self) -> list[str]:
        """The names of the report's checks."""
        return [*names(PluginKind.CHECK), *(["suite"] if self.recipe.gate.suites else []), GATE]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One execution of one step."""

    drawing: Drawing
    context: dg.AssetExecutionContext

    def execute(self, step: plan.Step) -> Iterator[Any]:
        recipe = self._recipe()
        store = open_store(recipe, self._resource("store").root if "store" in self._keys else self.drawing.store)
        needs = self._latest(Part(plan.step(step.needs).makes.value)) if step.needs else None
        try:
            result = run_step(recipe, step.name, store=store, needs=needs, progress=self._log)
        except GateFailedError as error:
            yield self._judged(ArtifactRef(kind=ArtifactKind.REPORT, id=error.report_id), store, dict(error.facts))
            return
        if step.makes is ArtifactKind.REPORT:
            yield self._judged(result.ref, store, artifact_metadata(store, result))
            return
        key = self.drawing.spec(Part(step.makes.value)).key
        if key in self.context.selected_asset_keys:
            version = dg.DataVersion(result.ref.id)
            yield dg.MaterializeResult(asset_key=key, metadata=artifact_metadata(store, result), data_version=version)
        if step.makes is ArtifactKind.PUBLICATION:
            yield from self._tables(recipe, store, result)

    def _judged(self, ref: ArtifactRef, store: Store, metadata: dict[str, Any]) -> Any:
        report = read_report(store, ref)
        found = families(report, expected=[name for name in self.drawing.families() if name != GATE])
        failed = report.verdict != "passed"
        shown = {name: value for name, value in metadata.items() if isinstance(value, str | int | float)}
        verdict = dg.AssetCheckResult(
            check_name=GATE,
            passed=not failed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=f"the copy failed its gate: {metadata['blocked_by']}" if failed else None,
            metadata={**ref.to_json(), "checks": len(report.outcomes), **report_metadata(store, ref)},
        )
        known = [family_result(found[name]) for name in self.drawing.families() if name in found]
        return dg.MaterializeResult(
            metadata={**shown, **ref.to_json(), **report_metadata(store, ref)},
            data_version=dg.DataVersion(ref.id),
            check_results=[*known, verdict],
        )

    def _tables(self, recipe: Recipe, store: Store, result: StepResult) -> Iterator[Any]:
        location = recipe.target_location()
        for table in read_metadata(store, result.ref).tables:
            metadata = table_metadata(
                table,
                rows=result.facts["tables"][table.name],
                dataset=table_dataset(location, table.name),
                source_key=lambda name: self.drawing.spec(Part.SOURCE_TABLE, name).key,
            )
            key = self.drawing.spec(Part.TABLE, table.name).key
            version = dg.DataVersion(result.facts["copy"])
            if key in self.context.selected_asset_keys:
                yield dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=version)
            elif table.name not in self.drawing.tables:  # nobody knew of it when the code was loaded
                tags = {"dagster/data_version": version.value}
                self.context.log_event(dg.AssetMaterialization(asset_key=key, metadata=metadata, tags=tags))

    def _recipe(self) -> Recipe:
        ends = {end: self._resource(end) for end in ("source", "target") if end in self._keys}
        urls = {end: url_of(resource, self._keys[end]) for end, resource in ends.items()}
        return self.drawing.recipe.with_locations(**urls)

    @property
    def _keys(self) -> dict[str, str]:
        return self.drawing.resource_keys

    def _resource(self, end: str) -> Any:
        return getattr(self.context.resources, self._keys[end])

    def _latest(self, part: Part) -> ArtifactRef:
        """The artifact that an asset's latest materialization stands for: of this partition, where there are some."""
        key = self.drawing.spec(part).key
        partitions = list(self.context.partition_keys) if self.context.assets_def.partitions_def else None
        wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions)
        found = self.context.instance.fetch_materializations(wanted, limit=1).records
        materialization = found[0].asset_materialization if found else None
        if materialization is None:
            message = f"{key.to_user_string()} was never materialized (materialize it first)"
            raise dg.Failure(message, allow_retries=False)
        return ArtifactRef(kind=ArtifactKind(part.value), id=str(materialization.metadata["id"].value))

    def _log(self, progress: Progress) -> None:
        self.context.log.info("%s %s (%s of %s)", progress.step, progress.item, progress.done, progress.total)


def _part_before(part: Part) -> Part | None:
    """The artifact that a part is made from; source tables stand first, and a table is of its publication."""
    if part in (Part.SOURCE_TABLE, Part.TABLE):
        part = Part.SNAPSHOT if part is Part.SOURCE_TABLE else Part.PUBLICATION
    step = next(each for each in plan.STEPS if each.makes.value == part.value)
    return Part(plan.step(step.needs).makes.value) if step.needs else None
