"""When a generator fails to learn, to draw, or at the gate: the next one that the recipe names takes over."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.choice import ladder
from synth_ops.errors import FitError, SampleError, SynthOpsError, refuse_interruption, unforeseen
from synth_ops.ports import ProgressListener
from synth_ops.recipe import Recipe
from synth_ops.runners import RUNNERS, Made, choice_of, latest_key, run_fit
from synth_ops.store import Store

_LADDER = ("fit", "sample", "gate")
"""The steps that a generator may fail, in order."""
logger = logging.getLogger(__name__)


def run_on_the_ladder(
    recipe: Recipe, step: str, store: Store, needs: ArtifactRef | None, progress: ProgressListener
) -> Made:
    """What a step makes; where a generator fails it, what the next one makes that the recipe names, from `fit` on."""
    rungs = recipe.generators
    if step not in _LADDER or len(rungs) == 1:
        return _through(recipe, (step,), store, needs, progress, 0)
    place, snapshot, fell = _place(recipe, store, needs)
    made: Made | None = None
    steps: Sequence[str] = (step,)
    given = needs
    while True:
        try:
            made = _through(recipe, steps, store, given, progress, place, fell)
            why = f"its copy failed the gate: {made[2]['blocked_by']}" if made[2].get("verdict") == "failed" else ""
        except SynthOpsError as error:
            if place + 1 == len(rungs) or not is_of_the_generator(error):
                raise
            why = error.message
        if made and (not why or place + 1 == len(rungs)):
            told = "; ".join(f"{each['generator']}: {each['why']}" for each in fell)
            return made[0], made[1], {**made[2], **({"instead_of": told} if told else {})}
        fell.append({"generator": ladder(recipe)[place].label, "why": why})
        logger.warning("%s failed, the next generator is tried: %s", fell[-1]["generator"], why)
        made, place = None, place + 1
        steps, given = _LADDER[: _LADDER.index(step) + 1], snapshot


def is_of_the_generator(error: SynthOpsError) -> bool:
    """Whether another generator may do better: a plug-in may raise anything."""
    return type(error) is SynthOpsError or isinstance(error, FitError | SampleError)


def has_another(recipe: Recipe, store: Store, model: ArtifactRef) -> bool:
    """Whether the recipe names a generator after the one that fitted a model."""
    return len(recipe.generators) > 1 and _place(recipe, store, model)[0] + 1 < len(recipe.generators)


def _through(
    recipe: Recipe,
    steps: Sequence[str],
    store: Store,
    given: ArtifactRef | None,
    progress: ProgressListener,
    rung: int,
    fell: Sequence[Mapping[str, Any]] = (),
) -> Made:
    """What the last of some steps makes.

    Args:
        rung: Which of the recipe's generators learns.
        fell: Those that failed before it, and why: the report says so.
    """
    for step in steps:
        with nothing_unforeseen():
            runner = partial(run_fit, rung=rung) if step == "fit" else RUNNERS[step]
            made = runner(recipe, store, given, progress)
        given = made[0]
        store.remember(*latest_key(recipe, given.kind), ref=given)
        if step == "fit":
            for number, each in enumerate(fell):
                store.record("fell", recipe.generators, given.id, name=str(number), entry=each)
    return made


def _place(
    recipe: Recipe, store: Store, needs: ArtifactRef | None
) -> tuple[int, ArtifactRef | None, list[dict[str, Any]]]:
    """Which of a recipe's generators made what a step goes on with, what that learned from, and those that failed."""
    if needs is None or needs.kind is ArtifactKind.SNAPSHOT:
        return 0, needs, []
    body = store.facts(needs)
    model = ArtifactRef.from_json(body["model"]) if needs.kind is ArtifactKind.COPY else needs
    made_by, rungs = choice_of(store, model), ladder(recipe)
    place = rungs.index(made_by) if made_by in rungs else len(rungs) - 1
    fell = store.recorded("fell", recipe.generators, model.id, last=len(rungs))
    return place, ArtifactRef.from_json(body["snapshot"]), fell


@contextlib.contextmanager
def nothing_unforeseen() -> Iterator[None]:
    """An orchestrator logs what it catches, and the text of an error that nobody foresaw may hold values."""
    try:
        yield
    except SynthOpsError:
        raise
    except Exception as error:  # noqa: BLE001
        refuse_interruption(error)
        raise unforeseen(error) from None
