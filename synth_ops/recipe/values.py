"""What a recipe may hold beside plain texts and numbers: names of columns, settings, generators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainValidator

from synth_ops.fingerprint import canonical_json


def _as_names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _some_and_different(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("a key needs at least one column")
    if len(set(value)) < len(value):
        raise ValueError("a key names a column twice")
    return value


def plain_json(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings, if JSON can hold them."""
    try:
        canonical_json(value)
    except (TypeError, ValueError):
        raise ValueError("settings are texts, finite numbers, booleans, lists and mappings of them") from None
    return value


def _one_generator(value: object) -> str | Mapping[str, Any]:
    """A name, or a name with its settings."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, settings),) = value.items()
        if isinstance(name, str) and name and isinstance(settings, Mapping | None):
            return {name: dict(plain_json(settings or {}))}
    raise ValueError("a generator is a name, or a name with settings: `marginal_tree: {alpha: 2}`")


def _generators(value: object) -> str | Mapping[str, Any] | tuple[str | Mapping[str, Any], ...]:
    """One generator, or several, each to be tried when the one before failed."""
    if not isinstance(value, list | tuple):
        return _one_generator(value)
    several = tuple(_one_generator(each) for each in value)
    if not several or len({canonical_json(each) for each in several}) < len(several):
        raise ValueError("a list of generators names at least one, and none twice")
    return several


def generator_named(value: str | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The name and the settings of one generator, however they were written."""
    return (value, {}) if isinstance(value, str) else next(iter(value.items()))


OneGenerator = Annotated[
    Any, PlainValidator(_one_generator, json_schema_input_type=str | dict[str, dict[str, Any] | None])
]
Generators = Annotated[
    Any,
    PlainValidator(
        _generators,
        json_schema_input_type=str
        | dict[str, dict[str, Any] | None]
        | tuple[str | dict[str, dict[str, Any] | None], ...],
    ),
]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_as_names, json_schema_input_type=str | tuple[str, ...]),
    AfterValidator(_some_and_different),
]
