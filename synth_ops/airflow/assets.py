"""What DAGs may wait for: an asset for each artifact of a recipe, and an alias for the tables that it publishes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

from synth_ops.artifacts import ArtifactKind
from synth_ops.lineage import table_dataset
from synth_ops.recipe import Recipe, recipe_name

if TYPE_CHECKING:
    from airflow.sdk import Context

    from synth_ops.run import StepResult

_TOLD = ("tables", "generation", "published_at", "verdict", "checks", "failed", "warnings", "families", "scores")


def asset_name(recipe: str | os.PathLike[str] | Recipe) -> str:
    """What a recipe's assets are called after: its short name; none for a path that is a template."""
    if isinstance(recipe, Recipe):
        return recipe.name
    return "" if "{" in os.fspath(recipe) else recipe_name(recipe)


def synthetic_asset(name: str, kind: ArtifactKind | str = ArtifactKind.PUBLICATION) -> Asset:
    """The asset of one kind of artifact, to schedule a DAG on: `schedule=[synthetic_asset("shop")]`.

    Args:
        name: The recipe's short name, or the `asset` that the tasks were given.
        kind: `snapshot`, `model`, `copy`, `report` (a passed gate) or `publication`. Its events carry the artifact's
            id with the counts and scores that belong to it.
    """
    kind = ArtifactKind(kind)
    # for a scheme without the x- Airflow would load every provider's URI handlers, in each file that is parsed
    return Asset(name=f"{name}/{kind.value}", uri=f"x-synth-ops://{quote(name)}/{kind.value}", group="synth_ops")


def published_tables(name: str) -> AssetAlias:
    """The alias whose events are the tables of a publication, one each, with their rows."""
    return AssetAlias(f"{name}/tables", group="synth_ops")


def outlets(name: str, kind: ArtifactKind) -> list[Asset | AssetAlias]:
    """What a task that makes artifacts of a kind declares."""
    made: list[Asset | AssetAlias] = [synthetic_asset(name, kind)]
    return [*made, published_tables(name)] if kind is ArtifactKind.PUBLICATION else made


def emit(name: str, recipe: Recipe, result: StepResult, context: Context) -> None:
    """Say in the asset's event what was made: an id, counts, scores; never values."""
    told = {key: result.facts[key] for key in _TOLD if key in result.facts}
    events: Any = context["outlet_events"]
    events[synthetic_asset(name, result.ref.kind)].extra = {**result.ref.to_json(), **told}
    if result.ref.kind is ArtifactKind.PUBLICATION:
        _emit_tables(events[published_tables(name)], name, recipe, result.facts)


def _emit_tables(alias: Any, name: str, recipe: Recipe, facts: Mapping[str, Any]) -> None:
    location = recipe.target_location()
    for table, rows in facts["tables"].items():
        asset = Asset(name=f"{name}/{table}", uri=table_dataset(location, table).uri, group="synth_ops")
        alias.add(asset, extra={"rows": rows, "generation": facts["generation"], "copy": facts["copy"]})
