"""A copy, or its publication, as assets of several steps, wherever the run launcher and the executor put them.

The first step deals the parts, as many others as there are work on some of them each, and the last one ends the work.
The names of the parts travel by the IO manager, which all workers must reach, as they must the store.

No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any

import dagster as dg

from synth_ops.artifacts import ArtifactKind
from synth_ops.dagster.execution import Execution, told_to_dagster
from synth_ops.fan_out import load_tables, plan_shards, plan_tables, run_shards


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """How a step is parted.

    Attributes:
        of: What its parts are.
        plan: Deals them to so many workers.
        work: What one worker does.
    """

    of: str
    plan: Callable[[Execution, int], Sequence[Any]]
    work: Callable[[Execution, Any], object]


def _plan_shards(step: Execution, tasks: int) -> Sequence[Any]:
    recipe, store = step.begin()
    return plan_shards(recipe, store=store, needs=step.needs(), tasks=tasks)


def _draw(step: Execution, shards: Any) -> None:
    recipe, store = step.begin()
    run_shards(recipe, shards, store=store, needs=step.needs(), progress=step.log)


def _plan_tables(step: Execution, tasks: int) -> Sequence[Any]:
    recipe, store = step.begin()
    return plan_tables(recipe, store=store, needs=step.needs(), tasks=tasks)


def _load(step: Execution, part: Any) -> None:
    recipe, store = step.begin()
    load_tables(recipe, **part, store=store, needs=step.needs(), progress=step.log)


PARTED: Mapping[ArtifactKind, _Parts] = {
    ArtifactKind.COPY: _Parts(of="shards", plan=_plan_shards, work=_draw),
    ArtifactKind.PUBLICATION: _Parts(of="tables", plan=_plan_tables, work=_load),
}
"""The steps that can be parted, by what they make."""


def fanned_out(
    specs: Sequence[dg.AssetSpec],
    *,
    kind: ArtifactKind,
    name: str,
    tasks: int,
    execution: Callable[[dg.OpExecutionContext], Execution],
    resource_keys: set[str],
    retry_policy: dg.RetryPolicy | None,
    **settings: Any,
) -> dg.AssetsDefinition:
    """The assets of one step, worked on in at most `tasks` steps at the same time.

    Args:
        specs: How the assets look, and what they are made from.
        kind: What the step makes.
        execution: Of one of the steps, by its context.
        settings: `partitions_def`, `backfill_policy`.
    """
    parts = PARTED[kind]
    outputs = {f"asset_{number}": spec for number, spec in enumerate(specs)}
    names = {spec.key: output for output, spec in outputs.items()}
    common: dict[str, Any] = {"required_resource_keys": resource_keys, "retry_policy": retry_policy}

    upstream = {dep.asset_key: dep for spec in specs for dep in spec.deps if dep.asset_key not in names}
    inputs = {
        f"upstream_{number}": dg.AssetIn(key=key, partition_mapping=dep.partition_mapping, dagster_type=dg.Nothing)
        for number, (key, dep) in enumerate(upstream.items())
    }

    @dg.op(name=f"{name}_plan", ins={each: dg.In(dg.Nothing) for each in inputs}, out=dg.DynamicOut(), **common)
    def plan(context: dg.OpExecutionContext) -> Iterator[dg.DynamicOutput[Any]]:
        with told_to_dagster():
            dealt = parts.plan(execution(context), tasks)
        for number, part in enumerate(dealt):
            yield dg.DynamicOutput(part, mapping_key=str(number))

    @dg.op(name=f"{name}_{parts.of}", out=dg.Out(), **common)
    def work(context: dg.OpExecutionContext, part: Any) -> Any:
        with told_to_dagster():
            parts.work(execution(context), part)
        return part

    @dg.op(name=f"{name}_together", out={output: dg.Out(dg.Nothing) for output in outputs}, **common)
    def together(context: dg.OpExecutionContext, done: list[Any]) -> Iterator[dg.Output[None]]:
        context.log.info("%s tasks had a part in it", len(done))
        with told_to_dagster():
            for made in execution(context).execute(selected=frozenset(names)):
                yield dg.Output(None, names[made.asset_key], metadata=made.metadata, data_version=made.data_version)

    def assets(**given: Any) -> Any:
        made = together(plan(**given).map(work).collect())
        return {output: getattr(made, output) for output in outputs} if len(outputs) > 1 else made

    # Dagster asks the signature for the inputs, of which there are as many as the translator wants
    parameters = [Parameter(each, Parameter.POSITIONAL_OR_KEYWORD) for each in inputs]
    assets.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return dg.graph_multi_asset(
        name=name,
        ins=inputs,
        outs={
            output: dg.AssetOut.from_spec(spec.replace_attributes(deps=[]), dagster_type=dg.Nothing)
            for output, spec in outputs.items()
        },
        **settings,
    )(assets)
