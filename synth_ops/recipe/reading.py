"""Read a recipe from its file, or from plain dicts and lists."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synth_ops.errors import RecipeError
from synth_ops.recipe.document import Recipe
from synth_ops.recipe.problems import problems

_ELSEWHERE = "given when it runs"


def load_recipe(path: str | os.PathLike[str], *, source: str = "", target: str = "") -> Recipe:
    """Read a recipe from a YAML file.

    Args:
        source, target: URLs to use instead of the recipe's, which may then leave them out; see
            `Recipe.with_locations`.

    Raises:
        RecipeError: The file can't be read, is not YAML, or asks for something that does not exist; every problem is
            named with its place.
    """
    import yaml

    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"can't read recipe {file}: {_reason(error)}", "check the path") from None
    try:
        document = _load_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise RecipeError(
            f"recipe {file} is not YAML{where}: {getattr(error, 'problem', None) or 'bad syntax'}"
        ) from None
    except (ValueError, RecursionError):
        raise RecipeError(
            f"recipe {file} is not YAML: a value can't be read", "put dates and codes in quotes"
        ) from None
    if isinstance(document, Mapping):
        document = {**{key: _ELSEWHERE for key, url in (("source", source), ("target", target)) if url}, **document}
    recipe = parse_recipe(document, where=str(file)).at(file.absolute().parent, recipe_name(file))
    return recipe.with_locations(source=source, target=target)


def recipe_name(path: str | os.PathLike[str]) -> str:
    """A recipe's short name, from its path alone: the file's, or its folder's where the file is `recipe.yaml`.

    >>> recipe_name("/recipes/shop.yaml"), recipe_name("/recipes/flights/recipe.yaml")
    ('shop', 'flights')
    """
    file = Path(path)
    return file.stem if file.stem != "recipe" else (file.absolute().parent.name or "recipe")


def parse_recipe(document: object, where: str = "recipe") -> Recipe:
    """Read a recipe from plain dicts and lists.

    Raises:
        RecipeError: Naming every problem.
    """
    if not isinstance(document, Mapping):
        raise RecipeError(
            f"{where} holds {type(document).__name__}, not a mapping",
            "the smallest recipe: `source: ...`, `target: ...`",
        )
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise RecipeError(problems(where, Recipe, error)) from None


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe, for editors."""
    schema = Recipe.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "synth_ops recipe"}


def _load_yaml(text: str) -> object:
    """Read YAML, where a key that a mapping holds twice is an error: the first one would be lost."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> object:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} stands here twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    return yaml.load(text, Loader)  # noqa: S506  # a SafeLoader


def _reason(error: Exception) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "it is not UTF-8 text"
