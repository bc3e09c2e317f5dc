"""What all parts of a recipe have in common."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A part of a recipe: nothing but known keys, each explained where it stands."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_means_the_default(cls, value: object) -> object:
        """A key with nothing below it, as it stays behind when its lines are commented out, is as good as absent."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            return value
        return {key: item for key, item in value.items() if item is not None or key not in cls.model_fields}
