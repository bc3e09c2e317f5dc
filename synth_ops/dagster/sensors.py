"""A sensor that starts a refresh when the source has changed.

No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.
"""

import os
from typing import Any

import dagster as dg

from synth_ops.endpoints import open_source
from synth_ops.errors import SynthOpsError
from synth_ops.fingerprint import fingerprint
from synth_ops.recipe import Recipe, load_recipe


def source_sensor(
    recipe: str | os.PathLike[str] | Recipe,
    *,
    name: str,
    target: Any,
    minimum_interval_seconds: int = 300,
) -> dg.SensorDefinition:
    """Look at the source now and then, and ask for a run when its state is another one than at the last look.

    Args:
        recipe: Path of a recipe file, read when the sensor looks, or a `Recipe`; it names the source itself.
        name: The sensor's.
        target: The job or asset selection to run.
        minimum_interval_seconds: Between two looks.
    """

    @dg.sensor(name=name, target=target, minimum_interval_seconds=minimum_interval_seconds)
    def changed(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
            state = open_source(loaded).state()
        except SynthOpsError as error:
            if error.retryable:
                return dg.SkipReason(str(error))
            raise dg.Failure(str(error), allow_retries=False) from None
        if state is None:
            return dg.SkipReason("this kind of source can't tell cheaply whether it has changed: use a schedule")
        seen = fingerprint(state)  # the state itself may hold names of files
        if seen == context.cursor:
            return dg.SkipReason("the source is as it was")
        # no run key: Dagster runs a key once, and a source may come back to a state that it had before
        return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=seen)

    return changed
