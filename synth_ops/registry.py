"""From a plug-in's name to the plug-in, through Python entry points; our own come the same way."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from synth_ops.errors import MissingExtraError, UnknownPluginError
from synth_ops.metadata import did_you_mean


class PluginKind(StrEnum):
    """The entry point groups."""

    SOURCE = "synth_ops.sources"
    GENERATOR = "synth_ops.generators"
    CHECK = "synth_ops.checks"
    SUITE = "synth_ops.suites"
    TARGET = "synth_ops.targets"


def names(kind: PluginKind) -> list[str]:
    """The names of all installed plug-ins of a kind."""
    return sorted({entry.name for entry in entry_points(group=kind.value)})


def chosen(kind: PluginKind, named: Sequence[str]) -> list[str]:
    """The names of all installed plug-ins of a kind; of those that need an extra, the ones that are named."""
    extra = {entry.name for entry in entry_points(group=kind.value) if entry.extras}
    return sorted({*names(kind)} - extra | {*named})


def release(kind: PluginKind, name: str) -> str:
    """The package that brings a plug-in, and its version; empty where none is installed."""
    dists = [entry.dist for entry in entry_points(group=kind.value) if entry.name == name]
    return f"{dists[0].name} {dists[0].version}" if dists and dists[0] else ""


def load(kind: PluginKind, name: str) -> Any:
    """The plug-in's class.

    Raises:
        UnknownPluginError: None of that name is installed.
        MissingExtraError: It is, but a package that it needs is not.
    """
    found: list[EntryPoint] = [entry for entry in entry_points(group=kind.value) if entry.name == name]
    if not found:
        what = kind.value.removeprefix("synth_ops.").removesuffix("s")
        raise UnknownPluginError(
            f"there is no {what} {name!r}{did_you_mean(name, names(kind))}",
            f"installed: {', '.join(names(kind)) or 'none'}",
        )
    try:
        return found[0].load()
    except ImportError as error:
        extra = found[0].extras[0] if found[0].extras else ""
        hint = f'pip install "synth-ops[{extra}]"' if extra else "install the package that is missing"
        raise MissingExtraError(
            f"plug-in {name!r} needs {error.name or 'a package'}, which is not installed", hint
        ) from error
