"""What a user writes: one YAML file, or the same model in Python."""

from __future__ import annotations

from synth_ops.recipe.document import Recipe
from synth_ops.recipe.fit import FitRecipe, Refit
from synth_ops.recipe.gate import GateRecipe, Policy
from synth_ops.recipe.publish import Dependents, Mismatch, Mode, PublishRecipe
from synth_ops.recipe.reading import load_recipe, parse_recipe, recipe_name, recipe_schema
from synth_ops.recipe.source import Drift, DriftRecipe, SubsetRecipe
from synth_ops.recipe.tables import ColumnRecipe, FixturesRecipe, ForeignKeyRecipe, TableRecipe

__all__ = [
    "ColumnRecipe",
    "Dependents",
    "Drift",
    "DriftRecipe",
    "FitRecipe",
    "FixturesRecipe",
    "ForeignKeyRecipe",
    "GateRecipe",
    "Mismatch",
    "Mode",
    "Policy",
    "PublishRecipe",
    "Recipe",
    "Refit",
    "SubsetRecipe",
    "TableRecipe",
    "load_recipe",
    "parse_recipe",
    "recipe_name",
    "recipe_schema",
]
