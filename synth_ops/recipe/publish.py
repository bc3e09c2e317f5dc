"""How a copy becomes the live test database."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from synth_ops.recipe.section import Section


class Mismatch(StrEnum):
    """What to do about a live table whose columns differ from the copy's."""

    FAIL = "fail"
    """Refuse, and list the differences."""
    SOURCE = "source"
    """Make the table anew, as the source has it."""
    TARGET = "target"
    """Keep the table as the target has it: columns that it lacks are left out, others take their defaults."""


class Dependents(StrEnum):
    """What to do about views outside the live schemas, and foreign keys of tables that are not in the copy."""

    REFUSE = "refuse"
    """List them, and don't publish."""
    RECREATE = "recreate"
    """Let them look at the new tables; materialized views are filled from them before the swap."""


class Mode(StrEnum):
    """What becomes of the target's rows."""

    REPLACE = "replace"
    """They give way to the copy's."""
    APPEND = "append"
    """They stay, and the copy's are added to them, with keys after theirs."""


class PublishRecipe(Section):
    """How a copy becomes the live test database."""

    keep_generations: int = Field(default=3, ge=1)
    """How many generations stay for `rollback`, the live one included."""
    mode: Mode = Mode.REPLACE
    """`replace`, or `append`: the target's rows stay, and the copy's get keys after theirs; for database servers."""
    deny: tuple[str, ...] = ()
    """Patterns such as `*prod*` of hosts and databases that must never be a target; for database servers."""
    on_mismatch: Mismatch = Mismatch.FAIL
    """What to do about a live table that differs from the copy's: `fail`, `source` or `target`; for database
    servers, where migrations may have made the tables."""
    dependents: Dependents = Dependents.REFUSE
    """What to do about views and foreign keys elsewhere, and materialized views, that need the live tables: `refuse` or
    `recreate`."""
    lock_timeout_ms: int = Field(default=500, ge=1, le=900)
    """The longest that one attempt to swap may hold up readers, in milliseconds; for database servers."""
    swap_deadline_s: float = Field(default=120, gt=0)
    """How long a swap is tried again while others hold locks, in seconds; for database servers."""
