"""The two ends of a night: the source and the target that a recipe names, opened, told apart, and looked after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import cast

from synth_ops.artifacts import Generation
from synth_ops.errors import (
    PublishError,
    PublishRefusedError,
    RecipeError,
)
from synth_ops.metadata import Metadata
from synth_ops.ports import (
    RULES,
    Capability,
    Compared,
    Fixtures,
    Identified,
    MarkedTarget,
    PublishRules,
    Source,
    Target,
)
from synth_ops.recipe import Dependents, Mismatch, Mode, Recipe
from synth_ops.registry import PluginKind, load


def open_source(recipe: Recipe) -> Source:
    """The recipe's source plug-in; nothing is opened yet.

    Raises:
        ConfigError: No plug-in for its scheme.
    """
    location = recipe.source_location()
    source: Source = load(PluginKind.SOURCE, location.scheme)(location)
    return source


def open_target(recipe: Recipe) -> Target:
    """The recipe's target plug-in; nothing is opened yet.

    Raises:
        ConfigError: No plug-in for its scheme.
        PublishRefusedError: The target is the source.
    """
    from synth_ops.steps.publish import refuse_source_as_target

    location = recipe.target_location()
    plugin = load(PluginKind.TARGET, location.scheme)
    refuse_source_as_target(recipe.source_location(), location)
    rules = _publish_rules(recipe)
    _refuse_rules(rules, plugin.capabilities, location.scheme)
    target: Target = plugin(location, rules=rules) if plugin.capabilities & RULES else plugin(location)
    return target


def mark_target(recipe: Recipe, environment: str, confirm: Callable[[str], str]) -> str:
    """Say, inside the target, that it may be replaced every night; done once, by hand.

    Args:
        environment: Its name: `staging`, `test`, ...
        confirm: Asked for the name of the database, which it is given to show.

    Returns:
        The name of the database.

    Raises:
        RecipeError: A target of this kind needs no marker.
        PublishRefusedError: The name of the environment, or the answer, is not what it has to be.
    """
    target = open_target(recipe)
    if Capability.MARKER not in target.capabilities:
        raise RecipeError(
            f"{recipe.target_location().label} needs no marker",
            "publish to it: a file is only ever replaced if this tool published it",
        )
    marked = cast("MarkedTarget", target)
    refuse_same_database(recipe, marked)
    database = marked.database()
    marked.mark(environment, confirm=confirm(database))
    return database


def target_differences(recipe: Recipe, metadata: Metadata) -> list[str]:
    """How the target's own tables differ from the source's, a line each, and what the recipe does about it."""
    target = open_target(recipe)
    if not isinstance(target, Compared):
        return []
    try:
        found = target.differences(metadata)
    except PublishError as error:
        return [str(error)]
    what = {
        Mismatch.FAIL: "publishing will be refused",
        Mismatch.SOURCE: "it will be made anew",
        Mismatch.TARGET: "it will stay as it is",
    }[recipe.publish.on_mismatch]
    return [f"table {name!r}: {'; '.join(each)}: {what}" for name, each in found.items()]


def _publish_rules(recipe: Recipe) -> PublishRules:
    asked = recipe.publish
    return PublishRules(
        deny=asked.deny,
        on_mismatch=asked.on_mismatch,
        recreate_dependents=asked.dependents is Dependents.RECREATE,
        kept=frozenset(name for name, table in recipe.tables.items() if table.keep),
        fixtures={
            name: Fixtures(where=table.fixtures.where, rows=table.fixtures.rows)
            for name, table in recipe.tables.items()
            if table.fixtures
        },
        append=asked.mode is Mode.APPEND,
        lock_timeout_ms=asked.lock_timeout_ms,
        deadline_s=asked.swap_deadline_s,
    )


_AS_IN_THE_RECIPE = {
    "recreate_dependents": "publish: dependents",
    "kept": "tables: keep",
    "fixtures": "tables: fixtures",
    "append": "publish: mode",
    "deadline_s": "publish: swap_deadline_s",
}


def _refuse_rules(rules: PublishRules, capabilities: frozenset[Capability], scheme: str) -> None:
    default = PublishRules()
    changed = [field.name for field in fields(rules) if getattr(rules, field.name) != getattr(default, field.name)]
    asked = [name for name in changed if name not in capabilities]
    if asked:
        words = ", ".join(f"`{_AS_IN_THE_RECIPE.get(name, f'publish: {name}')}`" for name in asked)
        raise RecipeError(
            f"a {scheme} target can't do what the recipe asks of it: {words}",
            "remove it from the recipe, or publish to a database server",
        )


def refuse_same_database(recipe: Recipe, target: Target) -> None:
    """Compare what the databases say they are, through any host name and on any replica."""
    source = open_source(recipe)
    if isinstance(source, Identified) and isinstance(target, Identified) and source.identity() == target.identity():
        raise PublishRefusedError(
            f"the target {recipe.target_location().label} is the source, under another name",
            "choose another target in the recipe",
        )


def roll_back(recipe: Recipe) -> Generation:
    """Swap the generation before the live one back in.

    Raises:
        PublishError: There is none, or the target can't be written.
    """
    return open_target(recipe).rollback()


def generations(recipe: Recipe) -> Sequence[Generation]:
    """What the recipe's target remembers, oldest first."""
    return open_target(recipe).generations()
