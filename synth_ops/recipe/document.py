"""The whole recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, PrivateAttr, ValidationError, model_validator

from synth_ops.errors import RecipeError
from synth_ops.location import Location, parse_location
from synth_ops.recipe.fit import FitRecipe, Refit
from synth_ops.recipe.gate import GateRecipe
from synth_ops.recipe.problems import problems
from synth_ops.recipe.publish import PublishRecipe
from synth_ops.recipe.section import Section
from synth_ops.recipe.source import DriftRecipe, SubsetRecipe
from synth_ops.recipe.tables import TableRecipe
from synth_ops.recipe.values import Generators, generator_named, plain_json


class Recipe(Section):
    """One nightly refresh. The smallest recipe is a `source` and a `target`."""

    source: str
    """What to copy: `duckdb:///file.duckdb`, `sqlite:///file.db`, `parquet:///folder`, `csv:///folder`, or a path;
    `postgresql://user@host/database` or `mysql://user@host/database`.
    Relative paths start at the recipe's folder. `${NAME}` is read from the environment and never stored."""
    target: str
    """Where to publish: the same kinds of URLs (but for csv). It must not be the source."""
    require_read_only: bool = False
    """Refuse a source whose role could write to it; a warning says so otherwise."""
    drift: DriftRecipe = Field(default_factory=DriftRecipe)
    """Whether a changed schema passes."""
    subset: SubsetRecipe | None = None
    """Read a part only: some rows of one table, all that belongs to them, and the parents that these need."""
    generator: Generators = "relational_trees"
    """The plug-in that learns and samples, by name or as `name: {settings}`. A list: each is tried when the one before
    fails, takes too long, or makes a copy that does not pass the gate. A model of one table makes the columns of every
    table, in a frame of `relational_trees`."""
    generator_settings: Annotated[Mapping[str, Any], AfterValidator(plain_json)] = Field(default_factory=dict)
    """Settings of that plug-in, where it is a name alone. For any: `own_process: true` runs it in a process of its own,
    `interpreter` in the Python of another environment, for packages that can't be installed beside an orchestrator."""
    fit: FitRecipe = Field(default_factory=FitRecipe)
    """What learning may cost."""
    refit: Refit = Refit.ALWAYS
    """`always`: for every new snapshot. `on-drift`: the last model stays as long as the source stands still: the same
    tables, columns and keys, about as many rows, no column with a PSI above 0.1."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """The same snapshot, recipe and seed give the same bytes."""
    scale: float = Field(default=1.0, gt=0, le=1000)
    """Size of the copy, as a multiple of the source's rows."""
    tables: Mapping[str, TableRecipe] = Field(default_factory=dict)
    """Table settings, by table name."""
    gate: GateRecipe = Field(default_factory=GateRecipe)
    """What the copy must pass."""
    publish: PublishRecipe = Field(default_factory=PublishRecipe)
    """How it goes live."""

    _folder: Path = PrivateAttr(default_factory=Path.cwd)
    _name: str = PrivateAttr(default="recipe")
    _elsewhere: tuple[str, str] = PrivateAttr(default=("", ""))

    @model_validator(mode="after")
    def _settings_of_one_generator(self) -> Self:
        if self.generator_settings and not isinstance(self.generator, str):
            raise ValueError("`generator_settings` are those of one name: write `generator: {name: {settings}}`")
        return self

    @property
    def generators(self) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """Name and settings of the generator, and of those to try after it."""
        if isinstance(self.generator, tuple):
            return tuple(generator_named(each) for each in self.generator)
        name, settings = generator_named(self.generator)
        return ((name, self.generator_settings or settings),)

    @property
    def folder(self) -> Path:
        """The folder that relative paths start from."""
        return self._folder

    @property
    def name(self) -> str:
        """The recipe's short name: its file's, without the suffix; its folder's where the file is `recipe.yaml`."""
        return self._name

    def at(self, folder: Path, name: str = "recipe") -> Self:
        """The same recipe, with relative paths starting at `folder`."""
        copy = self.model_copy()
        copy._folder, copy._name = folder.absolute(), name  # noqa: SLF001
        return copy

    def with_locations(self, *, source: str = "", target: str = "") -> Self:
        """The same recipe, reading from and publishing to what an orchestrator's connections stand for.

        Args:
            source, target: URLs to use instead of the recipe's own; an empty one changes nothing. They may hold
                secrets, so they are none of its fields: nothing that shows or stores a recipe has them.
        """
        copy = self.model_copy()
        copy._elsewhere = (source or self._elsewhere[0], target or self._elsewhere[1])  # noqa: SLF001
        return copy

    def with_changes(self, **changes: object) -> Self:
        """The same recipe with other fields, such as `seed=1`; None changes nothing.

        Raises:
            RecipeError: It may not have them; every problem is named.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        try:
            changed = type(self).model_validate({**self.model_dump(), **given})
        except ValidationError as error:
            raise RecipeError(problems("recipe", type(self), error)) from None
        return changed.at(self._folder, self._name).with_locations(source=self._elsewhere[0], target=self._elsewhere[1])

    def source_location(self) -> Location:
        """The source, read against the recipe's folder and the environment."""
        return parse_location(self._elsewhere[0] or self.source, self._folder)

    def target_location(self) -> Location:
        """The target, read against the recipe's folder and the environment."""
        return parse_location(self._elsewhere[1] or self.target, self._folder)
