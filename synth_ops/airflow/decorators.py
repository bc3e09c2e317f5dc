"""`@task.synth_gate`: a function that says which copy the gate is to judge."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory

from synth_ops.airflow.operators import LATEST, SynthGateOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class _SynthGateDecoratedOperator(DecoratedOperator, SynthGateOperator):
    """Calls the function, then judges the copy that it returned (nothing: the recipe's latest)."""

    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *SynthGateOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **SynthGateOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.synth_gate"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **gate_kwargs: Any,
    ) -> None:
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **gate_kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Call the function and judge; Airflow calls this."""
        wanted = inspect.signature(self.python_callable).parameters
        known = {name: value for name, value in dict(context).items() if name in wanted}
        self.needs = self.python_callable(*self.op_args, **{**known, **self.op_kwargs}) or LATEST
        return SynthGateOperator.execute(self, context)


def synth_gate_task(python_callable: Callable[..., Any] | None = None, **gate_kwargs: Any) -> TaskDecorator:
    """Make a function into a gate: what it returns, such as a copy's reference from XCom, is judged.

    Args:
        python_callable: Returns what `SynthSampleOperator` did; None for the recipe's latest copy.
        gate_kwargs: As of `SynthGateOperator`: `recipe`, `store`, ...
    """
    decorator: TaskDecorator = task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=_SynthGateDecoratedOperator, **gate_kwargs
    )
    return decorator
