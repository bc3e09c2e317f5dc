"""The steps of a recipe as one task group."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskGroup, TriggerRule

from synth_ops import plan
from synth_ops.airflow.fan_out import (
    SynthPlanShardsOperator,
    SynthPlanTablesOperator,
    SynthShardsOperator,
    SynthTablesOperator,
)
from synth_ops.airflow.operators import (
    LATEST,
    SynthFitOperator,
    SynthGateOperator,
    SynthOperator,
    SynthPreflightOperator,
    SynthPublishOperator,
    SynthSampleOperator,
    SynthSnapshotOperator,
    SynthStepOperator,
    SynthTidyOperator,
)

if TYPE_CHECKING:
    from synth_ops.recipe import Recipe

_OPERATORS: Mapping[str, type[SynthStepOperator]] = {
    each.step: each
    for each in (
        SynthSnapshotOperator,
        SynthFitOperator,
        SynthSampleOperator,
        SynthGateOperator,
        SynthPublishOperator,
    )
}
ALL_STEPS = tuple(_OPERATORS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """How a step is parted.

    Attributes:
        of: What its parts are: the name of the mapped tasks.
        planner, worker: Their operators.
        argument: The worker's, which takes one part.
        shown: What tells one mapped task from another.
    """

    of: str
    planner: type[SynthPlanShardsOperator | SynthPlanTablesOperator]
    worker: type[SynthShardsOperator | SynthTablesOperator]
    argument: str
    shown: str

    def before(self, step: SynthStepOperator, tasks: int, arguments: Mapping[str, Any]) -> SynthOperator:
        """Put both before the task of the step; returns the first of them."""
        planned = self.planner(task_id=f"plan_{self.of}", tasks=tasks, **arguments)
        mapped = self.worker.partial(task_id=self.of, **{"map_index_template": self.shown, **arguments})
        mapped.expand(**{self.argument: planned.output}) >> step
        # with nothing to do apart the mapped tasks are skipped, and the step is done in one piece
        step.trigger_rule = TriggerRule.NONE_FAILED
        return planned


_PARTED = {
    "sample": _Parts(
        of="shards",
        planner=SynthPlanShardsOperator,
        worker=SynthShardsOperator,
        argument="shards",
        shown="shards {{ task.shards | join(', ') }}",
    ),
    "publish": _Parts(
        of="tables",
        planner=SynthPlanTablesOperator,
        worker=SynthTablesOperator,
        argument="part",
        shown="{{ task.part.tables | join(', ') }}",
    ),
}


def synthetic_copy(
    recipe: str | os.PathLike[str] | Recipe,
    *,
    steps: Sequence[str] = ALL_STEPS,
    group_id: str = "synthetic_copy",
    asset: str | None = None,
    fan_out: int = 0,
    keep_snapshot: bool = True,
    step_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
    **task_kwargs: Any,
) -> TaskGroup:
    """Wire the steps, each taking the reference that the one before returns, between a setup and a teardown.

    The setup `preflight` finds out at once what would stop the night; the teardown `tidy` runs whatever happened, and
    removes what killed tasks left.

    Args:
        recipe: Path of a recipe file (templated), or a `Recipe`.
        steps: Neighbours out of `snapshot`, `fit`, `sample`, `gate`, `publish`. The first of them takes the recipe's
            latest artifact: one DAG fits every week, and another one samples that model every night.
        group_id: Name of the group; the tasks are named after their steps.
        asset: See `SynthStepOperator`.
        fan_out: On how many workers the copy may be sampled, and then published, at the same time: as many mapped
            tasks `shards` draw a part of it each, which `sample` puts together; as many mapped tasks `tables` load
            some of its tables each, which `publish` swaps in. The copy is the same for any number.
        keep_snapshot: Whether production's rows stay in the store: for the next run, which then reads them again only
            if they changed.
        step_kwargs: For the task of one step: `{"fit": {"pool": "large"}}`.
        task_kwargs: For all tasks: `store`, `source_conn_id`, `target_conn_id`, `seed`, `scale`, `retries`, ...

    Returns:
        The group, to put before or after other tasks: `synthetic_copy(...) >> notify`.

    Raises:
        ValueError: The steps are no neighbours, or something is said of one that is not in the group.
    """
    first = ALL_STEPS.index(steps[0]) if steps and steps[0] in ALL_STEPS else len(ALL_STEPS)
    if not steps or ALL_STEPS[first : first + len(steps)] != tuple(steps):
        raise ValueError(f"steps are neighbours out of {', '.join(ALL_STEPS)}, in this order")
    parted = [name for name in steps if fan_out and name in _PARTED]
    if fan_out and not parted:
        raise ValueError("fan_out is about the steps sample and publish, which this group does not have")
    own = step_kwargs or {}
    if unknown := sorted(set(own) - {*steps, "preflight", "tidy", *(_PARTED[name].of for name in parted)}):
        raise ValueError(f"step_kwargs names no step of this group: {', '.join(unknown)}")
    with TaskGroup(group_id=group_id) as group:
        given = {"recipe": recipe, **task_kwargs}
        preflight = SynthPreflightOperator(task_id="preflight", **{**given, **own.get("preflight", {})})
        tasks: dict[str, SynthStepOperator] = {}
        begins: dict[str, SynthOperator] = {}
        for name in steps:
            before = plan.step(name).needs
            needs = tasks[before].output if before in tasks else LATEST
            arguments = {**given, "needs": needs, "asset": asset, **own.get(name, {})}
            tasks[name] = _OPERATORS[name](task_id=name, **arguments)
            begins[name] = tasks[name]
            if name in parted:
                arguments = {**given, "needs": needs, **own.get(_PARTED[name].of, {})}
                begins[name] = _PARTED[name].before(tasks[name], fan_out, arguments)
        unwanted = None if keep_snapshot or "snapshot" not in tasks else tasks["snapshot"].output
        tidy = SynthTidyOperator(task_id="tidy", snapshot=unwanted, **{**given, **own.get("tidy", {})})
        preflight.as_setup()  # type: ignore[no-untyped-call]
        preflight >> begins[steps[0]]
        tasks[steps[-1]] >> tidy.as_teardown(setups=preflight)
    return group
