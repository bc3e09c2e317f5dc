"""What is wrong with a recipe, in one line: each problem with its place and, where it can be told, the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from synth_ops.metadata import did_you_mean

_QUOTED = r"'([^']+)'"


def problems(where: str, model: type[BaseModel], error: ValidationError) -> str:
    """All that a model does not take.

    Args:
        where: What holds it: a file's name.
    """
    found = error.errors(include_url=False, include_context=False)
    return f"{where}: {'; '.join(_problem(model, item) for item in found)}"


def _problem(model: type[BaseModel], item: Mapping[str, Any]) -> str:
    place = tuple(item["loc"])
    shown = ".".join(str(part) for part in place) or "recipe"
    if item["type"] == "extra_forbidden":
        known = _keys_at(model, place[:-1])
        return (
            f"unknown key {shown!r}{did_you_mean(str(place[-1]), known) or '; known here: ' + ', '.join(sorted(known))}"
        )
    if item["type"] == "missing":
        return f"{shown!r} is missing"
    if item["type"] == "enum":  # what was written helps to find what was meant, and is not shown itself
        return f"{shown!r}: {item['msg']}{did_you_mean(str(item['input']), re.findall(_QUOTED, item['msg']))}"
    return f"{shown!r}: {item['msg']}"


def _keys_at(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The keys that a recipe may have at a place such as `("tables", "flights", "columns", "dest")`."""
    parts = iter(place)
    for part in parts:
        field = model.model_fields.get(str(part))
        if field is None:  # a number in a list
            continue
        model = next(_sections(field.annotation), model)
        if get_origin(field.annotation) is Mapping:
            next(parts, None)  # a name that the user chose
    return [field.alias or name for name, field in model.model_fields.items()]


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)
