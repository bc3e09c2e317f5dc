"""A copy on as many workers as there are: its shards, and then its tables, dealt to mapped tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from synth_ops.airflow.operators import LATEST, SynthOperator, needed
from synth_ops.artifacts import ArtifactKind

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg


class SynthPlanShardsOperator(SynthOperator):
    """Deals the shards of a copy to mapped tasks: returns, for each of them, the numbers of its shards.

    Args:
        needs: What the fit returned.
        tasks: How many mapped tasks there are at most.
        operator_kwargs: As of `SynthOperator`.
    """

    template_fields: Sequence[str] = (*SynthOperator.template_fields, "needs")
    template_fields_renderers: ClassVar[dict[str, str]] = {"needs": "json"}

    def __init__(
        self, *, needs: Mapping[str, Any] | XComArg | str = LATEST, tasks: int, **operator_kwargs: Any
    ) -> None:
        super().__init__(**operator_kwargs)
        self.needs: Any = needs
        self.tasks = tasks

    def execute(self, context: Context) -> list[list[int]]:  # noqa: ARG002
        """Deal; Airflow calls this."""
        from synth_ops.run import plan_shards

        with self.working() as (recipe, store):
            return plan_shards(
                recipe, store=store, needs=needed(ArtifactKind.MODEL, self.needs, recipe, store), tasks=self.tasks
            )


class SynthShardsOperator(SynthOperator):
    """Draws some shards of a copy into the store, on whatever worker; the sample task puts all of them together.

    Args:
        needs: What the fit returned.
        shards: Their numbers, of one mapped task: `.expand(shards=plan.output)`.
        operator_kwargs: As of `SynthOperator`.
    """

    template_fields: Sequence[str] = (*SynthOperator.template_fields, "needs", "shards")
    template_fields_renderers: ClassVar[dict[str, str]] = {"needs": "json", "shards": "json"}

    def __init__(
        self, *, needs: Mapping[str, Any] | XComArg | str = LATEST, shards: Sequence[int], **operator_kwargs: Any
    ) -> None:
        super().__init__(**operator_kwargs)
        self.needs: Any = needs
        self.shards = shards

    def execute(self, context: Context) -> list[dict[str, str]]:  # noqa: ARG002
        """Draw; Airflow calls this."""
        from synth_ops.run import run_shards

        with self.working() as (recipe, store):
            model = needed(ArtifactKind.MODEL, self.needs, recipe, store)
            refs = run_shards(recipe, self.shards, store=store, needs=model, progress=self.log_progress)
        return [ref.to_json() for ref in refs]


class SynthPlanTablesOperator(SynthOperator):
    """Begins to publish: opens the copy's place in the target, and deals its tables to mapped tasks.

    It returns, for each of them, the names of its tables, and the token that it shows; nothing where the target takes a
    copy from one task only. The gate's verdict on this very copy is looked up in the store, as ever.

    Args:
        needs: What the gate returned.
        tasks: How many mapped tasks there are at most.
        operator_kwargs: As of `SynthOperator`.
    """

    template_fields: Sequence[str] = (*SynthOperator.template_fields, "needs")
    template_fields_renderers: ClassVar[dict[str, str]] = {"needs": "json"}

    def __init__(
        self, *, needs: Mapping[str, Any] | XComArg | str = LATEST, tasks: int, **operator_kwargs: Any
    ) -> None:
        super().__init__(**operator_kwargs)
        self.needs: Any = needs
        self.tasks = tasks

    def execute(self, context: Context) -> list[dict[str, Any]]:  # noqa: ARG002
        """Begin; Airflow calls this."""
        from synth_ops.run import plan_tables

        with self.working() as (recipe, store):
            report = needed(ArtifactKind.REPORT, self.needs, recipe, store)
            return plan_tables(recipe, store=store, needs=report, tasks=self.tasks)


class SynthTablesOperator(SynthOperator):
    """Loads some tables of a copy into the target, on whatever worker; the publish task swaps all of them in.

    A table is loaded whole or not at all, and once, however often its task runs.

    Args:
        needs: What the gate returned.
        part: The tables and the token of one mapped task: `.expand(part=plan.output)`.
        operator_kwargs: As of `SynthOperator`.
    """

    template_fields: Sequence[str] = (*SynthOperator.template_fields, "needs", "part")
    template_fields_renderers: ClassVar[dict[str, str]] = {"needs": "json", "part": "json"}

    def __init__(
        self, *, needs: Mapping[str, Any] | XComArg | str = LATEST, part: Mapping[str, Any], **operator_kwargs: Any
    ) -> None:
        super().__init__(**operator_kwargs)
        self.needs: Any = needs
        self.part = part

    def execute(self, context: Context) -> None:  # noqa: ARG002
        """Load; Airflow calls this."""
        from synth_ops.run import load_tables

        with self.working() as (recipe, store):
            report = needed(ArtifactKind.REPORT, self.needs, recipe, store)
            load_tables(recipe, **self.part, store=store, needs=report, progress=self.log_progress)
