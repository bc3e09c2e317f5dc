"""When a model is learned anew, and what learning may cost."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from synth_ops.recipe.section import Section


class Refit(StrEnum):
    """When a model is learned anew."""

    ALWAYS = "always"
    """For every snapshot that is another one."""
    ON_DRIFT = "on-drift"
    """When the source moved since the snapshot that the last model was learned from."""


class FitRecipe(Section):
    """What learning may cost. A generator that has a limit runs in a process of its own, which is ended beyond it."""

    max_minutes: float | None = Field(default=None, gt=0)
    """How long a generator may learn, and how long it may draw a copy: those that learn in epochs stop in time, and
    keep the best that they had; others are ended. The generators of single tables share it, by the size of their
    tables."""
    max_memory_gb: float | None = Field(default=None, gt=0)
    """How much memory it may hold, in GiB."""
