"""One step of a recipe as Dagster runs it: what it goes on with, and what it tells of what it made.

No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.
"""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from synth_ops import plan
from synth_ops.artifact_io import read_metadata, read_report
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.dagster.metadata import artifact_metadata, family_result, report_metadata, table_metadata
from synth_ops.dagster.resources import url_of
from synth_ops.dagster.translator import Part
from synth_ops.errors import GateFailedError, SynthOpsError
from synth_ops.lineage import table_dataset
from synth_ops.ports import Progress
from synth_ops.recipe import Recipe
from synth_ops.run import StepResult, open_store, run_step
from synth_ops.store import Store
from synth_ops.verdict import families

if TYPE_CHECKING:
    from synth_ops.dagster.assets import Drawing

GATE = "gate"
"""The check that stands for the verdict as a whole."""


@contextlib.contextmanager
def told_to_dagster() -> Iterator[None]:
    """Dagster retries what may succeed later, as far as a retry policy says, and nothing else."""
    try:
        yield
    except SynthOpsError as error:
        if error.retryable:
            raise
        raise dg.Failure(str(error), allow_retries=False) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution of one step."""

    drawing: "Drawing"
    context: dg.AssetExecutionContext | dg.OpExecutionContext
    step: plan.Step

    def begin(self) -> tuple[Recipe, Store]:
        """The recipe as this run has it, and the store."""
        recipe = self._recipe()
        return recipe, open_store(recipe, self._resource("store").root if "store" in self._keys else self.drawing.store)

    def needs(self) -> ArtifactRef:
        """The artifact that the step goes on with."""
        return self._latest(Part((self.step.takes or ArtifactKind.SNAPSHOT).value))

    def log(self, progress: Progress) -> None:
        """One line of the step's log."""
        self.context.log.info("%s %s (%s of %s)", progress.step, progress.item, progress.done, progress.total)

    def execute(self, selected: Collection[dg.AssetKey]) -> Iterator[Any]:
        """Run the step, and say what was made and how it was judged.

        Args:
            selected: The keys of the assets that are materialized.
        """
        step = self.step
        recipe, store = self.begin()
        try:
            result = self._result(recipe, store)
        except GateFailedError as error:
            yield self._judged(ArtifactRef(kind=ArtifactKind.REPORT, id=error.report_id), store, dict(error.facts))
            return
        if step.makes is ArtifactKind.REPORT:
            yield self._judged(result.ref, store, artifact_metadata(store, result))
            return
        key = self.drawing.spec(Part(step.makes.value)).key
        if key in selected:
            version = dg.DataVersion(result.ref.id)
            yield dg.MaterializeResult(asset_key=key, metadata=artifact_metadata(store, result), data_version=version)
        if step.makes is ArtifactKind.PUBLICATION:
            yield from self._tables(recipe, store, result, selected)

    def _result(self, recipe: Recipe, store: Store) -> StepResult:
        needs = self.needs() if self.step.takes else None
        return run_step(recipe, self.step.name, store=store, needs=needs, progress=self.log)

    def _judged(self, ref: ArtifactRef, store: Store, metadata: dict[str, Any]) -> Any:
        report = read_report(store, ref)
        found = families(report, expected=[name for name in self.drawing.families() if name != GATE])
        failed = report.verdict != "passed"
        told = report_metadata(store, ref)
        shown = {name: value for name, value in metadata.items() if isinstance(value, str | int | float)}
        verdict = dg.AssetCheckResult(
            check_name=GATE,
            passed=not failed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=f"the copy failed its gate: {metadata['blocked_by']}" if failed else None,
            metadata={**told, "checks": len(report.outcomes), **ref.to_json()},
        )
        known = [family_result(found[name]) for name in self.drawing.families() if name in found]
        return dg.MaterializeResult(
            metadata={"verdict": report.verdict, **shown, **told, **ref.to_json()},
            data_version=dg.DataVersion(ref.id),
            check_results=[*known, verdict],
        )

    def _tables(
        self, recipe: Recipe, store: Store, result: StepResult, selected: Collection[dg.AssetKey]
    ) -> Iterator[Any]:
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
            if key in selected:
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
