"""All five steps as one task group."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskGroup

from synth_ops.airflow.operators import (
    SynthFitOperator,
    SynthGateOperator,
    SynthPublishOperator,
    SynthSampleOperator,
    SynthSnapshotOperator,
)

if TYPE_CHECKING:
    from synth_ops.recipe import Recipe


def synthetic_copy(
    recipe: str | os.PathLike[str] | Recipe,
    *,
    store: str | None = None,
    group_id: str = "synthetic_copy",
    **task_kwargs: Any,
) -> TaskGroup:
    """Wire snapshot, fit, sample, gate and publish, each taking the reference that the one before returns.

    Args:
        recipe: Path of a recipe file (templated), or a `Recipe`.
        store: Where artifacts are kept; see `SynthStepOperator`.
        group_id: Name of the group; the tasks are named after their steps.
        task_kwargs: For all five tasks: `retries`, `pool`, `queue`, ...

    Returns:
        The group, to put before or after other tasks: `synthetic_copy(...) >> notify`.
    """
    with TaskGroup(group_id=group_id) as group:
        arguments = {"recipe": recipe, "store": store, **task_kwargs}
        snapshot = SynthSnapshotOperator(task_id="snapshot", **arguments)
        model = SynthFitOperator(task_id="fit", needs=snapshot.output, **arguments)
        copy = SynthSampleOperator(task_id="sample", needs=model.output, **arguments)
        report = SynthGateOperator(task_id="gate", needs=copy.output, **arguments)
        SynthPublishOperator(task_id="publish", needs=report.output, **arguments)
    return group
