"""Which generator a recipe means: one as it is, or several in one another; and what to try when that fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synth_ops.errors import RecipeError
from synth_ops.recipe import Recipe
from synth_ops.worker import open_generator

COMPOSED, _FRAME = "composed", "relational_trees"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A generator as it is loaded and stored.

    Attributes:
        name: The plug-in's.
        settings: What it is constructed with.
    """

    name: str
    settings: Mapping[str, Any]

    @property
    def label(self) -> str:
        """What people read: its name, or those of the generators in it, as `relational_trees; orders: sdv.ctgan`."""
        if self.name != COMPOSED:
            return self.name
        frame = self.settings.get("frame", _FRAME)
        whole = [f"{name} in {frame}" for name in self.settings.get("everywhere") or ()] or [frame]
        tables = self.settings.get("tables", {}).items()
        return "; ".join([*whole, *(f"{table}: {name}" for table, named in tables for name in named)])


def ladder(recipe: Recipe) -> tuple[Choice, ...]:
    """The generators that a recipe names, the first choice first, each with what its tables override.

    Raises:
        ConfigError: One does not exist, or can't be combined with what the tables name.
    """
    return tuple(_choice(recipe, name, settings) for name, settings in recipe.generators)


def _choice(recipe: Recipe, name: str, settings: Mapping[str, Any]) -> Choice:
    budget = recipe.fit.model_dump(exclude_none=True)
    single = getattr(open_generator(name, {**budget, **settings}), "single_table", False)
    frame = _FRAME if single else name
    named = {table: each.generator_named for table, each in recipe.tables.items()}
    if not single and not any(named.values()):
        return Choice(name=name, settings={**budget, **settings})
    minutes = {"minutes": budget.pop("max_minutes")} if "max_minutes" in budget else {}
    tables = {table: _for_table(frame, budget, *each) for table, each in named.items() if each}
    if single:
        everywhere = {name: {**budget, **settings}}
        return Choice(name=COMPOSED, settings={"frame": frame, "everywhere": everywhere, "tables": tables, **minutes})
    if not getattr(open_generator(name, settings), "frame", False):
        raise RecipeError(
            f"generator {name!r} makes whole databases by itself: no other one can make the columns of "
            f"{', '.join(tables)}",
            f"put `generator: {_FRAME}` at the top of the recipe, or no `generator` under `tables`",
        )
    return Choice(
        name=COMPOSED, settings={"frame": frame, "frame_settings": dict(settings), "tables": tables, **minutes}
    )


def _for_table(
    frame: str, budget: Mapping[str, Any], name: str, settings: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """A table's own generator with what it may cost; the frame, where it is named without settings, is no other one."""
    return {name: dict(settings) if name == frame and not settings else {**budget, **settings}}
