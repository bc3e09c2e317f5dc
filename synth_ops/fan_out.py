"""A step's work dealt to many workers: the shards of a copy, and the tables of a publication."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any, cast

from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.errors import RecipeError, SynthOpsError
from synth_ops.fallback import has_another, is_of_the_generator, nothing_unforeseen
from synth_ops.ports import Capability, Progress, ProgressListener, StagingTarget
from synth_ops.recipe import Recipe
from synth_ops.runners import judged, required, sharded
from synth_ops.store import Store

logger = logging.getLogger(__name__)


def plan_shards(recipe: Recipe, *, store: Store, needs: ArtifactRef, tasks: int) -> list[list[int]]:
    """Deal the shards of the copy that a recipe asks for to at most `tasks` workers.

    Args:
        needs: The model.
        tasks: How many workers there are.

    Returns:
        For each worker the numbers of its shards; for none where the generator draws a copy in one piece, or fails and
        has another one after it: the step `sample` then draws alone, and goes on to that.
    """
    with _left_to_sample(recipe, store, needs), nothing_unforeseen():
        fitted = sharded(store, required(store, needs, ArtifactKind.MODEL))
        count = fitted.shards(recipe.scale) if fitted else 1
        return [list(range(first, count, tasks)) for first in range(min(tasks, count))] if count > 1 else []
    return []


def run_shards(
    recipe: Recipe,
    shards: Sequence[int],
    *,
    store: Store,
    needs: ArtifactRef,
    progress: ProgressListener | None = None,
) -> list[ArtifactRef]:
    """Draw some shards of a copy into the store; the step `sample` puts them together when all are there.

    Args:
        shards: Numbers, from `plan_shards`.
        needs: The model.

    Returns:
        Those that were drawn: all, unless the generator fails and has another one after it, which `sample` goes on to.

    Raises:
        SampleError: One can't be drawn, and there is no other generator.
    """
    from synth_ops.steps.shards import sample_shard

    drawn: list[ArtifactRef] = []
    with _left_to_sample(recipe, store, needs), nothing_unforeseen():
        model = required(store, needs, ArtifactKind.MODEL)
        fitted = sharded(store, model)
        if fitted is None:
            raise RecipeError("this generator draws a copy in one piece", "run the step sample alone")
        told = progress or _unheard
        for shard in shards:
            made = sample_shard(model, fitted, shard, seed=recipe.seed, scale=recipe.scale, store=store, progress=told)
            drawn.append(made[0])
    return drawn


@contextlib.contextmanager
def _left_to_sample(recipe: Recipe, store: Store, model: ArtifactRef) -> Iterator[None]:
    """Let a generator fail that has another one after it: the step `sample` meets the failure, and goes on to that."""
    try:
        yield
    except SynthOpsError as error:
        if not (is_of_the_generator(error) and has_another(recipe, store, model)):
            raise
        logger.warning("a part of the copy can't be drawn, which the step sample sees to: %s", error.message)


def plan_tables(recipe: Recipe, *, store: Store, needs: ArtifactRef, tasks: int) -> list[dict[str, Any]]:
    """Begin to publish: open the copy's place in the target, and deal its tables to at most `tasks` workers.

    Args:
        needs: The copy or its report.
        tasks: How many workers there are.

    Returns:
        For each worker the names of its `tables`, and the `token` that it shows; for none where the step `publish` has
        to do it alone: the target can't be loaded apart, the rules tie its tables together, or the copy is live.

    Raises:
        PublishRefusedError: The copy has not passed its gate, or the target must not be written.
        PublishError: The target can't take it.
    """
    from synth_ops.steps.publish import begin_publication

    with nothing_unforeseen():
        report, target = judged(recipe, store, needs)
        if Capability.STAGING not in target.capabilities:
            scheme = recipe.target_location().scheme
            logger.info("one task loads all tables: a %s target can't be loaded by several at once", scheme)
            return []
        token, dealt = begin_publication(report, cast("StagingTarget", target), store=store, tasks=tasks)
    return [{"token": token, "tables": tables} for tables in dealt]


def load_tables(
    recipe: Recipe,
    tables: Sequence[str],
    token: str,
    *,
    store: Store,
    needs: ArtifactRef,
    progress: ProgressListener | None = None,
) -> None:
    """Load some tables of a copy into its place in the target; the step `publish` swaps all of them in.

    Args:
        tables, token: From `plan_tables`.
        needs: The copy or its report.

    Raises:
        PublishRefusedError: The copy has not passed its gate, or another run has begun to publish since.
        PublishError: The target does not take the rows.
    """
    from synth_ops.steps import publish

    with nothing_unforeseen():
        report, target = judged(recipe, store, needs)
        staging = cast("StagingTarget", target)
        publish.load_tables(report, staging, tables, token, store=store, progress=progress or _unheard)


def _unheard(_: Progress) -> None:
    """Nobody is watching."""
