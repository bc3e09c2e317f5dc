"""One operator a step. Each hands a small reference to the next one through XCom; the data stays in the store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from synth_ops.ports import Progress
    from synth_ops.recipe import Recipe


class SynthStepOperator(BaseOperator):
    """Runs one step of a recipe, or finds that its artifact is there already.

    It returns (and so pushes to XCom) the step's artifact as a kind and an id, with counts and names; never rows.

    Args:
        recipe: Path of a recipe file, read when the task runs (templated), or a `Recipe`.
        store: Where artifacts are kept, any fsspec path that every worker reaches (templated); the environment's
            `SYNTH_OPS_STORE` when left out, else a folder beside the recipe.
        needs: What the step before returned, such as `snapshot.output`; None for the first step.

    Raises:
        AirflowFailException: The step failed in a way that a retry can't mend, a failed gate included.
        SynthOpsError: It may succeed later: Airflow retries as the task's `retries` say.
    """

    step: ClassVar[str]
    """The verb, one of `synth_ops.plan.STEPS`."""
    template_fields: Sequence[str] = ("recipe", "store", "needs")
    ui_color = "#e5f2ef"

    def __init__(
        self,
        *,
        recipe: str | os.PathLike[str] | Recipe,
        store: str | None = None,
        needs: Mapping[str, Any] | XComArg | None = None,
        **task_kwargs: Any,
    ) -> None:
        super().__init__(**task_kwargs)
        self.recipe = os.fspath(recipe) if isinstance(recipe, os.PathLike) else recipe
        self.store = store
        self.needs: Any = needs  # rendered before `execute`: what the step before returned
        if not isinstance(self.recipe, str):
            # Airflow stores and shows template fields, and a recipe made in Python may hold a literal secret
            self.template_fields = ("store", "needs")

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Run the step; Airflow calls this."""
        from synth_ops.artifacts import ArtifactRef
        from synth_ops.errors import SynthOpsError
        from synth_ops.recipe import load_recipe
        from synth_ops.run import open_store, run_step

        try:
            recipe = load_recipe(self.recipe) if isinstance(self.recipe, str) else self.recipe
            result = run_step(
                recipe,
                self.step,
                store=open_store(recipe, self.store),
                needs=ArtifactRef.from_json(self.needs) if self.needs else None,
                progress=self._log_progress,
            )
        except SynthOpsError as error:
            if error.retryable:
                raise
            raise AirflowFailException(str(error)) from None
        return {
            **result.ref.to_json(),
            "skipped": result.skipped,
            "seconds": round(result.seconds, 3),
            "facts": dict(result.facts),
        }

    def _log_progress(self, progress: Progress) -> None:
        self.log.info("%s %s (%s of %s)", progress.step, progress.item, progress.done, progress.total)


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
    """Judges the copy; fails, without retries, where the copy does."""

    step = "gate"


class SynthPublishOperator(SynthStepOperator):
    """Publishes the copy. It looks the verdict up in the store itself: without a passed gate it refuses."""

    step = "publish"
