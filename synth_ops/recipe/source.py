"""Which part of the source is read, and what may have changed in it."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from synth_ops.recipe.section import Section


class Drift(StrEnum):
    """What to do when the source's schema is not what it was the night before."""

    SYNTHESISE = "synthesise"
    """Go on, and say so: what is new is made like everything else, what is gone is no longer made."""
    FAIL = "fail"
    """Stop before a row is read."""


class DriftRecipe(Section):
    """What may change in the source's schema without anybody looking at it."""

    new_table: Drift = Drift.SYNTHESISE
    """A table that the snapshot before did not have, and that `tables` does not name."""
    removed_table: Drift = Drift.SYNTHESISE
    """A table that is no longer there."""
    new_column: Drift = Drift.SYNTHESISE
    """A column that the snapshot before did not have, and that `tables` does not name."""
    removed_column: Drift = Drift.SYNTHESISE
    """A column that is no longer there."""
    changed_type: Drift = Drift.SYNTHESISE
    """A column whose declared type is another one."""


class SubsetRecipe(Section):
    """A part of the database that hangs together."""

    root: str
    """The table whose rows are drawn at random: the people, or whatever else all is about."""
    share: float | None = Field(default=None, gt=0, le=1)
    """How many of them, as a share ..."""
    rows: int | None = Field(default=None, ge=1)
    """... or as a number."""

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.share is None) == (self.rows is None):
            raise ValueError("a subset has either a share or a number of rows")
        return self
