"""A copy on as many workers as there are: its shards, and then its tables, dealt to mapped tasks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from synth_ops import plan
from synth_ops.airflow.operators import LATEST, SynthOperator, needed

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from synth_ops.artifacts import ArtifactRef
    from synth_ops.recipe import Recipe
    from synth_ops.store import Store


class _PartOperator(SynthOperator):
    """Has a part in a step.

    Args:
        needs: What the step before returned.
        operator_kwargs: As of `SynthOperator`.
    """

    step: ClassVar[str]
    """The verb, one of `synth_ops.plan.STEPS`."""
    template_fields: Sequence[str] = (*SynthOperator.template_fields, "needs")
    template_fields_renderers: ClassVar[dict[str, str]] = {"needs": "json"}

    def __init__(self, *, needs: Mapping[str, Any] | XComArg | str = LATEST, **operator_kwargs: Any) -> None:
        super().__init__(**operator_kwargs)
        self.needs: Any = needs

    def execute(self, context: Context) -> Any:  # noqa: ARG002
        """Do it; Airflow calls this."""
        takes = plan.step(self.step).takes
        with self.working() as (recipe, store):
            return self.work(recipe, store, needed(takes, self.needs, recipe, store)) if takes else None

    @abstractmethod
    def work(self, recipe: Recipe, store: Store, needs: ArtifactRef) -> Any:
        """What it does."""


class _PlanOperator(_PartOperator):
    """Deals the parts of a step to mapped tasks.

    Args:
        tasks: How many mapped tasks there are at most.
        part_kwargs: As of `_PartOperator`.
    """

    def __init__(self, *, tasks: int, **part_kwargs: Any) -> None:
        super().__init__(**part_kwargs)
        self.tasks = tasks


class SynthPlanShardsOperator(_PlanOperator):
    """Deals the shards of a copy to mapped tasks: returns, for each of them, the numbers of its shards.

    Args:
        tasks: How many mapped tasks there are at most.
        part_kwargs: `needs`, what the fit returned, and all that `SynthOperator` takes.
    """

    step = "sample"

    def work(self, recipe: Recipe, store: Store, needs: ArtifactRef) -> list[list[int]]:
        """Deal."""
        from synth_ops.fan_out import plan_shards

        return plan_shards(recipe, store=store, needs=needs, tasks=self.tasks)


class SynthShardsOperator(_PartOperator):
    """Draws some shards of a copy into the store, on whatever worker; the sample task puts all of them together.

    Args:
        shards: Their numbers, of one mapped task: `.expand(shards=plan.output)`.
        part_kwargs: `needs`, what the fit returned, and all that `SynthOperator` takes.
    """

    step = "sample"
    template_fields: Sequence[str] = (*_PartOperator.template_fields, "shards")
    template_fields_renderers: ClassVar[dict[str, str]] = {"needs": "json", "shards": "json"}

    def __init__(self, *, shards: Sequence[int], **part_kwargs: Any) -> None:
        super().__init__(**part_kwargs)
        self.shards = shards

    def work(self, recipe: Recipe, store: Store, needs: ArtifactRef) -> list[dict[str, str]]:
        """Draw."""
        from synth_ops.fan_out import run_shards

        refs = run_shards(recipe, self.shards, store=store, needs=needs, progress=self.log_progress)
        return [ref.to_json() for ref in refs]


class SynthPlanTablesOperator(_PlanOperator):
    """Begins to publish: opens the copy's place in the target, and deals its tables to mapped tasks.

    It returns, for each of them, the names of its tables, and the token that it shows; nothing where the target takes a
    copy from one task only. The gate's verdict on this very copy is looked up in the store, as ever.

    Args:
        tasks: How many mapped tasks there are at most.
        part_kwargs: `needs`, what the gate returned, and all that `SynthOperator` takes.
    """

    step = "publish"

    def work(self, recipe: Recipe, store: Store, needs: ArtifactRef) -> list[dict[str, Any]]:
        """Begin."""
        from synth_ops.fan_out import plan_tables

        return plan_tables(recipe, store=store, needs=needs, tasks=self.tasks)


class SynthTablesOperator(_PartOperator):
    """Loads some tables of a copy into the target, on whatever worker; the publish task swaps all of them in.

    A table is loaded whole or not at all, and once, however often its task runs.

    Args:
        part: The tables and the token of one mapped task: `.expand(part=plan.output)`.
        part_kwargs: `needs`, what the gate returned, and all that `SynthOperator` takes.
    """

    step = "publish"
    template_fields: Sequence[str] = (*_PartOperator.template_fields, "part")
    template_fields_renderers: ClassVar[dict[str, str]] = {"needs": "json", "part": "json"}

    def __init__(self, *, part: Mapping[str, Any], **part_kwargs: Any) -> None:
        super().__init__(**part_kwargs)
        self.part = part

    def work(self, recipe: Recipe, store: Store, needs: ArtifactRef) -> None:
        """Load."""
        from synth_ops.fan_out import load_tables

        load_tables(recipe, **self.part, store=store, needs=needs, progress=self.log_progress)
