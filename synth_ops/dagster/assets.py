"""A recipe's artifacts as assets. A step finds what it needs in the event log, by id; the data stays in the store.

No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from synth_ops import __version__, plan
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.errors import GateFailedError, SynthOpsError
from synth_ops.ports import Progress
from synth_ops.recipe import Recipe, load_recipe
from synth_ops.run import StepResult, open_store, run_step

_DESCRIPTIONS = {
    ArtifactKind.SNAPSHOT: "A frozen read of the source.",
    ArtifactKind.MODEL: "What the generator learned from the snapshot.",
    ArtifactKind.COPY: "A synthetic copy, drawn from the model; its check `gate` says whether it may be published.",
    ArtifactKind.REPORT: "The copy's keys hold, it is like the source, and it is near to nobody in it.",
    ArtifactKind.PUBLICATION: "The live test database: the latest copy that passed its gate.",
}


def synthetic_assets(
    recipe: str | os.PathLike[str] | Recipe,
    *,
    name: str | None = None,
    store: str | None = None,
    key_prefix: str | Sequence[str] | None = None,
    retry_policy: dg.RetryPolicy | None = None,
) -> list[dg.AssetsDefinition]:
    """Draw a recipe as the assets `snapshot`, `model`, `copy` and `publication`, with the check `gate` on the copy.

    The check blocks: a copy that fails it is not published. To materialize `publication` by itself is no way around:
    without a passed gate for that very copy the step refuses.

    Args:
        recipe: Path of a recipe file, read now, or a `Recipe`. Its `${NAME}` variables are read when a step runs.
        name: The assets' group; the recipe's name when left out.
        store: Where artifacts are kept, any fsspec path that every worker reaches; the environment's
            `SYNTH_OPS_STORE` when left out, else a folder beside the recipe.
        key_prefix: Put before the assets' names in their keys; the group's name when left out.
        retry_policy: For what may succeed later, such as an unreachable source; all else fails at once.

    Returns:
        The assets and the check, in the order of the steps, for `dg.Definitions(assets=...)`.

    Raises:
        RecipeError: The recipe can't be read.
    """
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    group = re.sub(r"\W", "_", name or loaded.name, flags=re.ASCII)
    prefix = (key_prefix,) if isinstance(key_prefix, str) else tuple(key_prefix or (group,))
    drawing = _Drawing(recipe=loaded, store=store, group=group, prefix=prefix, retry_policy=retry_policy)
    return [drawing.check(step) if step.makes is ArtifactKind.REPORT else drawing.asset(step) for step in plan.STEPS]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    """One recipe, as it is drawn."""

    recipe: Recipe
    store: str | None
    group: str
    prefix: tuple[str, ...]
    retry_policy: dg.RetryPolicy | None

    def asset(self, step: plan.Step) -> dg.AssetsDefinition:
        upstream = _upstream(step)

        @dg.asset(
            key=self.key(step.makes),
            deps=[self.key(upstream)] if upstream else [],
            group_name=self.group,
            description=_DESCRIPTIONS[step.makes],
            code_version=__version__,
            retry_policy=self.retry_policy,
        )
        def run(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
            try:
                result = self.run(step, context)
            except SynthOpsError as error:
                raise _failure(error) from None
            return dg.MaterializeResult(metadata=_metadata(result), data_version=dg.DataVersion(result.ref.id))

        return run

    def check(self, step: plan.Step) -> dg.AssetChecksDefinition:
        @dg.asset_check(
            asset=self.key(ArtifactKind.COPY),
            name=step.name,
            blocking=True,
            description=_DESCRIPTIONS[step.makes],
            retry_policy=self.retry_policy,
        )
        def judge(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
            try:
                result = self.run(step, context)
            except GateFailedError as error:
                report = {"kind": step.makes.value, "id": error.report_id}
                return dg.AssetCheckResult(
                    passed=False, severity=dg.AssetCheckSeverity.ERROR, description=str(error), metadata=report
                )
            except SynthOpsError as error:
                raise _failure(error) from None
            return dg.AssetCheckResult(passed=True, metadata=_metadata(result))

        return judge

    def key(self, kind: ArtifactKind) -> dg.AssetKey:
        return dg.AssetKey([*self.prefix, kind.value])

    def run(self, step: plan.Step, context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> StepResult:
        def log(progress: Progress) -> None:
            context.log.info("%s %s (%s of %s)", progress.step, progress.item, progress.done, progress.total)

        upstream = _upstream(step)
        return run_step(
            self.recipe,
            step.name,
            store=open_store(self.recipe, self.store),
            needs=self.latest(upstream, context.instance) if upstream else None,
            progress=log,
        )

    def latest(self, kind: ArtifactKind, instance: dg.DagsterInstance) -> ArtifactRef:
        """The artifact that an asset's latest materialization stands for."""
        event = instance.get_latest_materialization_event(self.key(kind))
        if event is None or event.asset_materialization is None:
            message = f"{self.key(kind).to_user_string()} was never materialized (materialize it first)"
            raise dg.Failure(message, allow_retries=False)
        return ArtifactRef(kind=kind, id=str(event.asset_materialization.metadata["id"].value))


def _upstream(step: plan.Step) -> ArtifactKind | None:
    """The kind of asset that a step takes. A report is no asset: what follows it takes the copy that it judged."""
    if step.needs is None:
        return None
    needed = plan.step(step.needs)
    return _upstream(needed) if needed.makes is ArtifactKind.REPORT else needed.makes


def _metadata(result: StepResult) -> dict[str, Any]:
    metadata = {**result.facts, **result.ref.to_json(), "skipped": result.skipped, "seconds": round(result.seconds, 3)}
    if tables := result.facts.get("tables"):
        metadata["dagster/row_count"] = sum(tables.values())
    return metadata


def _failure(error: SynthOpsError) -> Exception:
    """What Dagster should see: it retries what may succeed later, as far as a retry policy says, and nothing else."""
    return error if error.retryable else dg.Failure(str(error), allow_retries=False)
