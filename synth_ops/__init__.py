"""Nightly refreshes of test databases with synthetic data: snapshot, fit, sample, gate, publish.

    >>> from synth_ops import load_recipe, open_store, run_all  # doctest: +SKIP
    >>> recipe = load_recipe("recipe.yaml")  # doctest: +SKIP
    >>> run_all(recipe, store=open_store(recipe))  # doctest: +SKIP

The house, from the door down; whatever stands higher may import what stands lower:

    cli, airflow, dagster       three ways in, each nothing but plumbing
    testing                     small warehouses and contract suites for plug-in authors
    run                         joins steps with plug-ins
    controls                    the gate's own test: fresh real people, and planted faults
    steps                       one verb a module
    sources, generators, checks, targets, report    the plug-ins, and the HTML report
    kinds, propose              what columns mean; keys that a source does not declare
    verdict                     a gate report in few numbers
    artifact_io, store, sql, registry, plan         artifacts on disk, DuckDB over them, plug-ins by name, the graph
    ports                       what a plug-in looks like
    recipe, artifacts           what a user writes; what a step makes
    metadata, location, fingerprint, scratch, errors
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synth_ops.errors import SynthOpsError
    from synth_ops.recipe import Recipe, load_recipe
    from synth_ops.run import open_store, run_all, run_step

__version__ = "0.1.0"
__all__ = ["Recipe", "SynthOpsError", "load_recipe", "open_store", "run_all", "run_step"]

_HOMES = {
    "Recipe": "synth_ops.recipe",
    "SynthOpsError": "synth_ops.errors",
    "load_recipe": "synth_ops.recipe",
    "open_store": "synth_ops.run",
    "run_all": "synth_ops.run",
    "run_step": "synth_ops.run",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: importing the package itself stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
