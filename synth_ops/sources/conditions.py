"""What a recipe's `where` says of a table, when the source can't evaluate it."""

from __future__ import annotations

from synth_ops.errors import RecipeError
from synth_ops.metadata import Table


def not_evaluated(table: Table, dialect: str, reason: str) -> RecipeError:
    """The error to raise; the driver's own text may hold values."""
    return RecipeError(
        f"the `where` of table {table.name!r} can't be evaluated ({reason})",
        f"it is an SQL condition over the table's columns, in {dialect}'s dialect",
    )
