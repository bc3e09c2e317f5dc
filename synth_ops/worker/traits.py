"""What is known of a generator beside its methods, and how one is made from its settings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synth_ops.errors import RecipeError

_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a generator's class says of itself, in attributes that it may leave out.

    Attributes:
        version: Of the plug-in.
        single_table: It learns one table without references; keys and relations are made by others.
        sequences: It learns the rows of a parent as a sequence, which an id column tells apart from others.
        own_process: It runs in a process of its own, always: it is heavy, or its models are pickles.
        licence: What a user must know of its licence before choosing it; empty where there is nothing to say.
    """

    version: str
    single_table: bool = False
    sequences: bool = False
    own_process: bool = False
    licence: str = ""


def traits_of(generator: Any) -> Traits:
    """The traits of a generator, or of its class."""
    return Traits(
        version=generator.version,
        single_table=getattr(generator, "single_table", False),
        sequences=getattr(generator, "sequences", False),
        own_process=getattr(generator, "own_process", False),
        licence=getattr(generator, "licence", ""),
    )


def make(plugin: Any, name: str, settings: Mapping[str, Any], budget: Mapping[str, Any]) -> Any:
    """A generator with its settings.

    Args:
        budget: What it may use of time and memory, for those that have a setting of that name.

    Raises:
        RecipeError: It does not take them.
    """
    taken = _settings(plugin)
    try:
        return plugin(**{name: value for name, value in budget.items() if name in taken}, **settings)
    except TypeError:
        raise RecipeError(
            f"generator {name!r} does not take these settings: {', '.join(sorted(settings))}",
            f"it takes: {', '.join(taken) or 'none'}",
        ) from None


def _settings(plugin: Any) -> list[str]:
    """The names of a plug-in's settings, also of those that its class hands on to the one that it extends."""
    makers = inspect.getmro(plugin) if inspect.isclass(plugin) else (plugin,)
    names: dict[str, None] = {}
    for maker in makers:
        parameters = inspect.signature(maker).parameters.values()
        names |= dict.fromkeys(each.name for each in parameters if each.kind not in _ANY)
        if all(each.kind is not inspect.Parameter.VAR_KEYWORD for each in parameters):
            break
    return list(names)
