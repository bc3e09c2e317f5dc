"""One operator a step. Each hands a small reference to the next one through XCom; the data stays in the store."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from synth_ops import plan
from synth_ops.airflow.assets import asset_name, emit, outlets
from synth_ops.airflow.links import ReportLink
from synth_ops.airflow.timeouts import timeout_as_interrupt

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from synth_ops.artifacts import ArtifactKind, ArtifactRef
    from synth_ops.ports import Progress
    from synth_ops.recipe import Recipe
    from synth_ops.run import StepResult
    from synth_ops.store import Store

LATEST = "latest"
"""Instead of what a task returned: the recipe's latest artifact in the store."""


class SynthGateFailed(AirflowFailException):
    """The copy did not pass its gate; no retry changes that.

    Args:
        report_id: Id of the gate report in the store.
        facts: The verdict's counts and scores.
    """

    def __init__(self, message: str, report_id: str = "", facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.report_id = report_id
        self.facts = dict(facts or {})


class SynthOperator(BaseOperator):
    """What every task on a recipe has: the recipe, the store, and connections in place of the recipe's URLs.

    Args:
        recipe: Path of a recipe file, read when the task runs (templated), or a `Recipe`.
        store: Where artifacts are kept, any fsspec path that every worker reaches (templated); the environment's
            `SYNTH_OPS_STORE` when left out, else a folder beside the recipe.
        source_conn_id, target_conn_id: Connections to use instead of the recipe's `source` and `target`, which it may
            then leave out. They are looked up when the task runs.
        seed, scale: Instead of the recipe's (templated).
    """

    template_fields: Sequence[str] = ("recipe", "store", "source_conn_id", "target_conn_id", "seed", "scale")
    ui_color = "#e5f2ef"

    def __init__(
        self,
        *,
        recipe: str | os.PathLike[str] | Recipe,
        store: str | None = None,
        source_conn_id: str | None = None,
        target_conn_id: str | None = None,
        seed: int | str | None = None,
        scale: float | str | None = None,
        **task_kwargs: Any,
    ) -> None:
        super().__init__(**task_kwargs)
        self.recipe = os.fspath(recipe) if isinstance(recipe, os.PathLike) else recipe
        self.store = store
        self.source_conn_id = source_conn_id
        self.target_conn_id = target_conn_id
        self.seed = seed
        self.scale = scale
        self._at_work = False
        if not isinstance(self.recipe, str):
            # Airflow stores and shows template fields, and a recipe made in Python may hold a literal secret
            self.template_fields = tuple(name for name in self.template_fields if name != "recipe")

    def load(self) -> Recipe:
        """The recipe, as this task runs it; what it returns may hold a password."""
        from synth_ops.airflow.connections import connection_url
        from synth_ops.recipe import load_recipe
        from synth_ops.registry import PluginKind

        elsewhere = {
            "source": connection_url(self.source_conn_id, PluginKind.SOURCE) if self.source_conn_id else "",
            "target": connection_url(self.target_conn_id, PluginKind.TARGET) if self.target_conn_id else "",
        }
        if isinstance(self.recipe, str):
            recipe = load_recipe(self.recipe, **elsewhere)
        else:
            recipe = self.recipe.with_locations(**elsewhere)
        # an empty template gives an empty text; 0 is a seed like any other
        changes = {"seed": self.seed, "scale": self.scale}
        return recipe.with_changes(**{name: value for name, value in changes.items() if value != ""})

    @contextlib.contextmanager
    def working(self) -> Iterator[tuple[Recipe, Store]]:
        """The recipe and the store; errors leave as Airflow wants them, so that a retry is not wasted on most."""
        from synth_ops.errors import GateFailedError, SynthOpsError
        from synth_ops.run import open_store

        self._at_work = True
        try:
            with timeout_as_interrupt():
                recipe = self.load()
                yield recipe, open_store(recipe, self.store)
        except GateFailedError as error:
            raise SynthGateFailed(str(error), error.report_id, error.facts) from None
        except SynthOpsError as error:
            if error.retryable:
                raise
            raise AirflowFailException(str(error)) from None
        finally:
            self._at_work = False

    def log_progress(self, progress: Progress) -> None:
        """One line of the task's log."""
        self.log.info("%s %s (%s of %s)", progress.step, progress.item, progress.done, progress.total)

    def on_kill(self) -> None:
        """Interrupt the work as Ctrl-C would: statements are cancelled, what was begun is removed."""
        if self._at_work:
            raise KeyboardInterrupt


def needed(kind: ArtifactKind, given: Any, recipe: Recipe, store: Store) -> ArtifactRef:
    """The artifact of a kind that a step is to go on with: what the task before returned, or the recipe's latest.

    Raises:
        RecipeError: The task before returned nothing.
        ArtifactNotFoundError: There is no latest one.
    """
    from synth_ops.artifacts import ArtifactRef
    from synth_ops.errors import RecipeError
    from synth_ops.run import latest

    if given == LATEST:
        return latest(recipe, kind, store=store)
    if not given:  # skipped, cleared or marked by hand: nobody says what to go on with
        raise RecipeError(f"the task before returned no {kind}", "run it first")
    return ArtifactRef.from_json(given)


class SynthStepOperator(SynthOperator):
    """Runs one step of a recipe, or finds that its artifact is there already.

    It returns (and so pushes to XCom) the step's artifact as a kind and an id, with counts and names; never rows. Its
    event on the asset `<asset>/<kind>` carries the same.

    Args:
        needs: What the step before returned, such as `snapshot.output`; `"latest"` is the recipe's latest such
            artifact in the store.
        asset: What its assets are called after; the recipe's short name when left out; `""` for no assets.
        operator_kwargs: As of `SynthOperator`, and Airflow's own: `retries`, `pool`, `execution_timeout`, ...

    Raises:
        SynthGateFailed: The copy failed its gate.
        AirflowFailException: The step failed in a way that a retry can't mend.
        SynthOpsError: It may succeed later: Airflow retries as the task's `retries` say.
    """

    step: ClassVar[str]
    """The verb, one of `synth_ops.plan.STEPS`."""
    template_fields: Sequence[str] = (*SynthOperator.template_fields, "needs")
    template_fields_renderers: ClassVar[dict[str, str]] = {"needs": "json"}

    def __init__(
        self,
        *,
        recipe: str | os.PathLike[str] | Recipe,
        needs: Mapping[str, Any] | XComArg | str = LATEST,
        asset: str | None = None,
        **operator_kwargs: Any,
    ) -> None:
        self.asset = asset_name(recipe) if asset is None else asset
        if self.asset:
            ours = outlets(self.asset, plan.step(self.step).makes)
            operator_kwargs["outlets"] = [*(operator_kwargs.pop("outlets", None) or []), *ours]
        super().__init__(recipe=recipe, **operator_kwargs)
        self.needs: Any = needs  # rendered before `execute`: what the step before returned
        self.done: tuple[Recipe, Store, StepResult] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step; Airflow calls this."""
        from synth_ops.run import run_step

        with self.working() as (recipe, store):
            takes = plan.step(self.step).takes
            needs = needed(takes, self.needs, recipe, store) if takes else None
            result = run_step(recipe, self.step, store=store, needs=needs, progress=self.log_progress)
            self.done = (recipe, store, result)
            if self.asset:
                emit(self.asset, recipe, result, context)
        return {
            **result.ref.to_json(),
            "skipped": result.skipped,
            "seconds": round(result.seconds, 3),
            "facts": dict(result.facts),
        }

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """What OpenLineage is told: which tables and artifacts went in and came out."""
        from synth_ops.airflow.openlineage import lineage_of

        return lineage_of(*self.done) if self.done else None


class SynthSnapshotOperator(SynthStepOperator):
    """Takes a frozen read of the source."""

    step = "snapshot"


class SynthFitOperator(SynthStepOperator):
    """Learns a model from the snapshot."""

    step = "fit"


class SynthSampleOperator(SynthStepOperator):
    """Draws a synthetic copy from the model."""

    step = "sample"


class SynthGateOperator(SynthStepOperator):
    """Judges the copy; fails, without retries, where the copy does. Links to the report in either case."""

    step = "gate"
    operator_extra_links = (ReportLink(),)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step; Airflow calls this."""
        try:
            returned = super().execute(context)
        except SynthGateFailed as failure:
            self._link_to(failure.report_id)
            raise
        self._link_to(returned["id"])
        return returned

    def _link_to(self, report_id: str) -> None:
        from synth_ops.artifacts import ArtifactKind, ArtifactRef
        from synth_ops.run import open_store, report_url

        store = open_store(self.load(), self.store)
        self.report_address = report_url(store, ArtifactRef(kind=ArtifactKind.REPORT, id=report_id))
        self.log.info("report: %s", self.report_address)  # Airflow's pages show no link but to a web server


class SynthPublishOperator(SynthStepOperator):
    """Publishes the copy. It looks the verdict up in the store itself: without a passed gate it refuses."""

    step = "publish"


class SynthPreflightOperator(SynthOperator):
    """Finds out, before anything is done, what would stop the night: recipe, plug-ins, connections, store."""

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Look; Airflow calls this."""
        from synth_ops.run import preflight

        with self.working() as (recipe, store):
            return preflight(recipe, store=store)


class SynthTidyOperator(SynthOperator):
    """Removes what killed tasks left in the store, and the snapshot if it is given.

    Args:
        snapshot: What the snapshot task returned, where production's rows shall not stay in the store.
        operator_kwargs: As of `SynthOperator`.
    """

    template_fields: Sequence[str] = (*SynthOperator.template_fields, "snapshot")
    template_fields_renderers: ClassVar[dict[str, str]] = {"snapshot": "json"}

    def __init__(self, *, snapshot: Mapping[str, Any] | XComArg | None = None, **operator_kwargs: Any) -> None:
        super().__init__(**operator_kwargs)
        self.snapshot: Any = snapshot

    def execute(self, context: Context) -> None:  # noqa: ARG002
        """Clean up; Airflow calls this."""
        from synth_ops.artifacts import ArtifactRef
        from synth_ops.run import tidy

        with self.working() as (_, store):
            tidy(store, ArtifactRef.from_json(self.snapshot) if self.snapshot else None)
