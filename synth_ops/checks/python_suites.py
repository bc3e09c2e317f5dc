"""Suites that are built in Python, by a plug-in's function, in place of a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from synth_ops.checks.engine import suite_document
from synth_ops.checks.suites import Suite, checked_suite
from synth_ops.errors import RecipeError
from synth_ops.ports import SuiteBuilder
from synth_ops.registry import PluginKind, load, release


def build_suites(plugins: Sequence[str]) -> dict[str, Suite]:
    """Have plug-ins build their suites.

    A suite is about the table that `meta.synth_ops.table` names, else the one that it is named after. The release of
    its package is in it: an expectation of one's own class may judge otherwise in the next one.

    Args:
        plugins: Names of entry points of `synth_ops.suites`.

    Returns:
        The suites, by plug-in and name.

    Raises:
        UnknownPluginError: No such plug-in is installed.
        MissingExtraError: A package that one needs is not installed.
        RecipeError: One fails, or what it builds is no suite.
    """
    suites: dict[str, Suite] = {}
    for plugin in plugins:
        for built in _built(plugin, load(PluginKind.SUITE, plugin)):
            document = suite_document(built)
            if document is None:
                raise RecipeError(
                    f"suite plug-in {plugin!r} built {type(built).__name__}",
                    "its function has to give several `great_expectations.ExpectationSuite`s",
                )
            name = f"{plugin}: {document['name']}"
            if name in suites:
                raise RecipeError(f"suite plug-in {plugin!r} built two suites named {document['name']!r}")
            suite = checked_suite(document, where=name, name=name, about=document["name"])
            ours = {**suite["meta"]["synth_ops"], "made_by": release(PluginKind.SUITE, plugin)}
            suites[name] = {**suite, "meta": {"synth_ops": ours}}
    return suites


def _built(plugin: str, builder: SuiteBuilder) -> list[object]:
    try:
        built = builder()
        return list(built) if isinstance(built, Iterable) else [built]
    except Exception as error:  # noqa: BLE001  its text may hold anything
        raise RecipeError(
            f"suite plug-in {plugin!r} failed: {type(error).__name__}", "call its function by hand to see why"
        ) from None
