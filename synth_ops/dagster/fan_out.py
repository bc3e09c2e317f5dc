"""The copy as an asset of several steps: its shards are dealt to as many of them, wherever the run launcher puts them.

No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.
"""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg

from synth_ops.dagster.execution import Execution, told_to_dagster
from synth_ops.run import plan_shards, run_shards


def fanned_out_copy(
    spec: dg.AssetSpec,
    model: dg.AssetKey,
    *,
    name: str,
    tasks: int,
    execution: Callable[[dg.OpExecutionContext], Execution],
    resource_keys: set[str],
    retry_policy: dg.RetryPolicy | None,
    **settings: Any,
) -> dg.AssetsDefinition:
    """The asset `copy`, sampled in at most `tasks` steps at the same time and put together by a last one.

    Args:
        spec: How the asset looks.
        model: The key of the asset that it is drawn from.
        execution: Of one of the steps, by its context.
        settings: `partitions_def`, `backfill_policy`.
    """
    common: dict[str, Any] = {"required_resource_keys": resource_keys, "retry_policy": retry_policy}

    @dg.op(name=f"{name}_plan", ins={"model": dg.In(dg.Nothing)}, out=dg.DynamicOut(list), **common)
    def plan(context: dg.OpExecutionContext) -> Iterator[dg.DynamicOutput[list[int]]]:
        step = execution(context)
        with told_to_dagster():
            recipe, store = step.begin()
            dealt = plan_shards(recipe, store=store, needs=step.model(), tasks=tasks)
        for number, shards in enumerate(dealt):
            yield dg.DynamicOutput(shards, mapping_key=str(number))

    @dg.op(name=f"{name}_shards", out=dg.Out(list), **common)
    def draw(context: dg.OpExecutionContext, shards: list[int]) -> list[str]:
        step = execution(context)
        with told_to_dagster():
            recipe, store = step.begin()
            return [ref.id for ref in run_shards(recipe, shards, store=store, needs=step.model(), progress=step.log)]

    @dg.op(name=f"{name}_together", out=dg.Out(dg.Nothing), **common)
    def together(context: dg.OpExecutionContext, drawn: list[list[str]]) -> dg.Output[None]:
        metadata, version = execution(context).finish()
        context.log.info("%s tasks drew the copy", len(drawn))
        return dg.Output(None, metadata=metadata, data_version=dg.DataVersion(version))

    @dg.graph_asset(
        ins={"model": dg.AssetIn(key=model, dagster_type=dg.Nothing)},
        key=spec.key,
        group_name=spec.group_name,
        description=spec.description,
        owners=list(spec.owners),
        tags=dict(spec.tags),
        kinds=set(spec.kinds),
        metadata=dict(spec.metadata),
        code_version=spec.code_version,
        automation_condition=spec.automation_condition,
        **settings,
    )
    def copy(model: Any) -> Any:
        return together(plan(model).map(draw).collect())

    return copy
