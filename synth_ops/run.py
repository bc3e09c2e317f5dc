"""The only place that joins steps with plug-ins: one step at a time, or all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.errors import GateFailedError
from synth_ops.plan import STEPS
from synth_ops.ports import ProgressListener
from synth_ops.recipe import Recipe
from synth_ops.store import Store

STORE_VARIABLE = "SYNTH_OPS_STORE"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What one step did.

    Attributes:
        step: Its verb.
        ref: Its artifact.
        skipped: Whether the artifact was there already.
        seconds: Wall time.
        facts: Counts and names to show (rows a table, the generation, the report's path): never values.
    """

    step: str
    ref: ArtifactRef
    skipped: bool
    seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict)


def open_store(recipe: Recipe, root: str | None = None) -> Store:
    """The store to use: `root`, else the environment's `SYNTH_OPS_STORE`, else `.synth_ops` beside the recipe.

    Raises:
        ArtifactError: It can't be made or written.
    """
    return Store(root or os.environ.get(STORE_VARIABLE) or recipe.folder / ".synth_ops")


def run_step(
    recipe: Recipe,
    step: str,
    *,
    store: Store,
    needs: ArtifactRef | None = None,
    progress: ProgressListener | None = None,
) -> StepResult:
    """Run one step, or find that its artifact is there already.

    Args:
        step: `snapshot`, `fit`, `sample`, `gate` or `publish`.
        needs: The artifact of the step before; None for `snapshot`. `publish` takes the copy or its report, and looks
            up the verdict itself.

    Raises:
        GateFailedError: After the report was stored.
        SynthOpsError: Whatever else stops it.
    """
    raise NotImplementedError


def run_all(
    recipe: Recipe,
    *,
    store: Store,
    progress: ProgressListener | None = None,
    on_step: Callable[[StepResult], None] | None = None,
) -> list[StepResult]:
    """Run all five steps, each from the artifact of the one before.

    Args:
        on_step: Called after every step.
    """
    raise NotImplementedError
