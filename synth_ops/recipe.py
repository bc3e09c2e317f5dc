"""What a user writes: one YAML file, or the same model in Python."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from synth_ops.errors import RecipeError
from synth_ops.fingerprint import canonical_json
from synth_ops.location import Location, parse_location
from synth_ops.metadata import Kind, Orphans, did_you_mean

_QUOTED = r"'([^']+)'"
_ELSEWHERE = "given when it runs"


def _as_names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _some_and_different(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("a key needs at least one column")
    if len(set(value)) < len(value):
        raise ValueError("a key names a column twice")
    return value


def _plain_json(value: Mapping[str, Any]) -> Mapping[str, Any]:
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
            return {name: dict(_plain_json(settings or {}))}
    raise ValueError("a generator is a name, or a name with settings: `marginal_tree: {alpha: 2}`")


def _generators(value: object) -> str | Mapping[str, Any] | tuple[str | Mapping[str, Any], ...]:
    """One generator, or several, each to be tried when the one before failed."""
    if not isinstance(value, list | tuple):
        return _one_generator(value)
    several = tuple(_one_generator(each) for each in value)
    if not several or len({canonical_json(each) for each in several}) < len(several):
        raise ValueError("a list of generators names at least one, and none twice")
    return several


def _named(value: str | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
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


class _Section(BaseModel):
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


class ColumnRecipe(_Section):
    """What the user knows better than the detection, of one column."""

    kind: Kind | None = None
    """What the column means: id, categorical, numerical, datetime, text, pii, geo or media."""
    provider: str = ""
    """Who makes its values, for kinds pii, text and id: `email`, `name`, `pattern`, ... (see the README)."""
    exclude: bool = False
    """Leave the column out of the copy: it is never read."""
    sensitive: bool = False
    """Nobody may be able to infer it about a person: the gate tries."""
    quasi_identifier: bool = False
    """Others may know it about a person: the gate looks whether those known by these columns come back."""
    target: bool = False
    """Models are trained to predict it: the gate trains some on the copy and tests them on real rows."""


class ForeignKeyRecipe(_Section):
    """A relationship that the source does not declare."""

    columns: Names
    """The child's column or columns."""
    references: str
    """The parent table."""
    parent_columns: Names | None = None
    """The parent's columns; its primary key when left out."""
    orphans: Orphans = Orphans.REPAIR
    """`repair`: every reference in the copy holds. `keep`: as large a share is broken as in the source."""


class FixturesRecipe(_Section):
    """Rows of one table that every publication leaves in the target, with their keys."""

    where: str = ""
    """A condition on the target's own rows, in its SQL, such as `email LIKE '%@test.example'`. The rows that they refer
    to stay as well."""
    rows: tuple[Annotated[Mapping[str, Any], AfterValidator(_plain_json)], ...] = ()
    """Rows spelt out, by the names of their columns; other columns take their defaults."""


class TableRecipe(_Section):
    """What the user knows better than the source, of one table."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)  # `copy` is a method of every model

    exclude: bool = False
    """Leave the table out of the copy."""
    where: str = ""
    """Which rows are read, as an SQL condition in the source's own dialect; rows that refer to others are left out with
    these."""
    fixtures: FixturesRecipe | None = None
    """Rows of the target that survive every refresh, such as the login of the integration tests; for database
    servers."""
    keep: bool = False
    """Leave the target's table as it is; for database servers. The copy's own rows of it are not published."""
    copied: bool = Field(default=False, alias="copy")
    """Copy the rows as they are, real values and all: for reference tables, such as countries, that hold no persons."""
    subject: bool | None = None
    """Whether a row is a person (or whom else privacy protects); detected when left out."""
    primary_key: Names | None = None
    """The primary key, where the source declares none."""
    unique: tuple[Names, ...] = ()
    """Further unique keys."""
    foreign_keys: tuple[ForeignKeyRecipe, ...] = ()
    """Relationships that the source does not declare."""
    checks: tuple[str, ...] = ()
    """Conditions that every row of the copy must meet, as SQL expressions over its columns (DuckDB's dialect)."""
    rules: bool = True
    """Look for what all rows obey though nothing declares it (`plan` shows it), and keep it in the copy."""
    generator: OneGenerator = None
    """Which generator makes this table's columns, by name or as `name: {settings}`: any that can learn one table. Keys,
    references and counts stay with the one at the top. Left out: that one's."""
    columns: Mapping[str, ColumnRecipe] = Field(default_factory=dict)
    """Column settings, by column name."""

    @property
    def generator_named(self) -> tuple[str, Mapping[str, Any]] | None:
        """The name and the settings of the table's own generator; None where it has none."""
        return _named(self.generator) if self.generator else None

    @model_validator(mode="after")
    def _one_fate(self) -> Self:
        fates = [name for name, so in (("exclude", self.exclude), ("keep", self.keep), ("copy", self.copied)) if so]
        if len(fates) > 1:
            raise ValueError("a table has one of `exclude`, `keep` and `copy`")
        if fates and self.generator:
            raise ValueError(f"a table with `{fates[0]}` is not made: it has no `generator`")
        return self


class Policy(StrEnum):
    """How strict a gate is."""

    STANDARD = "standard"
    """Every measure's own limits."""
    STRICT = "strict"
    """What the standard only warns of blocks."""
    OFF_FOR_PRIVACY = "off-for-privacy"
    """For data that is nobody's: privacy measures are shown and block nothing. Needs a reason."""


class Drift(StrEnum):
    """What to do when the source's schema is not what it was the night before."""

    SYNTHESISE = "synthesise"
    """Go on, and say so: what is new is made like everything else, what is gone is no longer made."""
    FAIL = "fail"
    """Stop before a row is read."""


class DriftRecipe(_Section):
    """What may change in the source's schema without anybody looking at it."""

    new_table: Drift = Drift.SYNTHESISE
    """A table that the snapshot before did not have, and that `tables` does not name."""
    removed_table: Drift = Drift.SYNTHESISE
    """A table that is no longer there."""
    new_column: Drift = Drift.SYNTHESISE
    """A column that the snapshot before did not have, and that `tables` does not name."""
    removed_column: Drift = Drift.SYNTHESISE
    """A column that is no longer there."""
    changed_type: Drift = Drift.SYNTHESISE
    """A column whose declared type is another one."""


class SubsetRecipe(_Section):
    """A part of the database that hangs together."""

    root: str
    """The table whose rows are drawn at random: the people, or whatever else all is about."""
    share: float | None = Field(default=None, gt=0, le=1)
    """How many of them, as a share ..."""
    rows: int | None = Field(default=None, ge=1)
    """... or as a number."""

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.share is None) == (self.rows is None):
            raise ValueError("a subset has either a share or a number of rows")
        return self


class Refit(StrEnum):
    """When a model is learned anew."""

    ALWAYS = "always"
    """For every snapshot that is another one."""
    ON_DRIFT = "on-drift"
    """When the source moved since the snapshot that the last model was learned from."""


class FitRecipe(_Section):
    """What learning may cost. A generator that has a limit runs in a process of its own, which is ended beyond it."""

    max_minutes: float | None = Field(default=None, gt=0)
    """How long a generator may learn, and how long it may draw a copy: those that learn in epochs stop in time, and
    keep the best that they had; others are ended. The generators of single tables share it, by the size of their
    tables."""
    max_memory_gb: float | None = Field(default=None, gt=0)
    """How much memory it may hold, in GiB."""


class GateRecipe(_Section):
    """What a copy must pass before it may be published."""

    policy: Policy = Policy.STANDARD
    """`standard`; `strict`: what else is only a warning blocks; `off-for-privacy`: for data that is nobody's, with a
    reason."""
    reason: str = ""
    """Why limits may be laxer than the policy's; the report prints it."""
    suites: tuple[str, ...] = ()
    """Great Expectations suites (JSON or YAML files, or folders of them) to run beside the built-in checks; a suite
    exported by `synth-ops suite` replaces the built-in one of its table, or the limits of all measures."""
    thresholds: Mapping[str, FiniteFloat] = Field(default_factory=dict)
    """Where single measures block (or warn, where they only do that), by the name that the report shows, such as
    `fidelity.column_distance`. Laxer ones than the policy's need a `reason`."""
    warnings: Mapping[str, FiniteFloat] = Field(default_factory=dict)
    """Where single measures begin to warn."""
    queries: tuple[str, ...] = ()
    """Files of SQL (DuckDB's dialect), each a SELECT or several after one another: they run on source and copy, and the
    numbers of their rows are compared."""
    check_timeout_s: float = Field(default=3600.0, gt=0)
    """How long one check may take before it counts as failed, and the audit (a model of half of the subjects) before
    them."""
    alert_at: float = Field(default=0.2, gt=0)
    """Point out a measure that came nearer to its limit since the last good night by more than this share of what the
    limit allows."""
    also: tuple[str, ...] = ()
    """Checks of an extra, which run only where they are named: `sdmetrics` (of `synth-ops[sdv]`) prints SDMetrics'
    scores beside the gate's own numbers."""
    stage: bool = True
    """Whether the copy may be loaded into a PostgreSQL target before the verdict, where nobody looks: there your own
    suites run, and queries are planned as the source's server plans them. A copy that passes is published from there;
    of one that fails nothing stays."""
    labels: bool = False
    """Whether the report names the texts that at least five people share (`shipped`, `returned`); else it numbers them
    by frequency, as reports go further than databases do."""


class Mismatch(StrEnum):
    """What to do about a live table whose columns differ from the copy's."""

    FAIL = "fail"
    """Refuse, and list the differences."""
    SOURCE = "source"
    """Make the table anew, as the source has it."""
    TARGET = "target"
    """Keep the table as the target has it: columns that it lacks are left out, others take their defaults."""


class Dependents(StrEnum):
    """What to do about views outside the live schemas, and foreign keys of tables that are not in the copy."""

    REFUSE = "refuse"
    """List them, and don't publish."""
    RECREATE = "recreate"
    """Let them look at the new tables; materialized views are filled from them before the swap."""


class Mode(StrEnum):
    """What becomes of the target's rows."""

    REPLACE = "replace"
    """They give way to the copy's."""
    APPEND = "append"
    """They stay, and the copy's are added to them, with keys after theirs."""


class PublishRecipe(_Section):
    """How a copy becomes the live test database."""

    keep_generations: int = Field(default=3, ge=1)
    """How many generations stay for `rollback`, the live one included."""
    mode: Mode = Mode.REPLACE
    """`replace`, or `append`: the target's rows stay, and the copy's get keys after theirs; for database servers."""
    deny: tuple[str, ...] = ()
    """Patterns such as `*prod*` of hosts and databases that must never be a target; for database servers."""
    on_mismatch: Mismatch = Mismatch.FAIL
    """What to do about a live table that differs from the copy's: `fail`, `source` or `target`; for database
    servers, where migrations may have made the tables."""
    dependents: Dependents = Dependents.REFUSE
    """What to do about views and foreign keys elsewhere, and materialized views, that need the live tables: `refuse` or
    `recreate`."""
    lock_timeout_ms: int = Field(default=500, ge=1, le=900)
    """The longest that one attempt to swap may hold up readers, in milliseconds; for database servers."""
    swap_deadline_s: float = Field(default=120, gt=0)
    """How long a swap is tried again while others hold locks, in seconds; for database servers."""


class Recipe(_Section):
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
    generator_settings: Annotated[Mapping[str, Any], AfterValidator(_plain_json)] = Field(default_factory=dict)
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
            return tuple(_named(each) for each in self.generator)
        name, settings = _named(self.generator)
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
            raise RecipeError(_problems("recipe", error)) from None
        return changed.at(self._folder, self._name).with_locations(source=self._elsewhere[0], target=self._elsewhere[1])

    def source_location(self) -> Location:
        """The source, read against the recipe's folder and the environment."""
        return parse_location(self._elsewhere[0] or self.source, self._folder)

    def target_location(self) -> Location:
        """The target, read against the recipe's folder and the environment."""
        return parse_location(self._elsewhere[1] or self.target, self._folder)


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
        raise RecipeError(_problems(where, error)) from None


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


def _problems(where: str, error: ValidationError) -> str:
    return f"{where}: {'; '.join(_problem(item) for item in error.errors(include_url=False, include_context=False))}"


def _problem(item: Mapping[str, Any]) -> str:
    place = tuple(item["loc"])
    shown = ".".join(str(part) for part in place) or "recipe"
    if item["type"] == "extra_forbidden":
        known = _fields_at(place[:-1])
        return (
            f"unknown key {shown!r}{did_you_mean(str(place[-1]), known) or '; known here: ' + ', '.join(sorted(known))}"
        )
    if item["type"] == "missing":
        return f"{shown!r} is missing"
    if item["type"] == "enum":  # what was written helps to find what was meant, and is not shown itself
        return f"{shown!r}: {item['msg']}{did_you_mean(str(item['input']), re.findall(_QUOTED, item['msg']))}"
    return f"{shown!r}: {item['msg']}"


def _fields_at(place: Sequence[int | str]) -> list[str]:
    """The keys that a recipe may have at a place such as `("tables", "flights", "columns", "dest")`."""
    sections: Mapping[str, type[BaseModel]] = {
        "gate": GateRecipe,
        "drift": DriftRecipe,
        "subset": SubsetRecipe,
        "publish": PublishRecipe,
        "fit": FitRecipe,
    }
    models: Mapping[str, type[BaseModel]] = {
        "tables": TableRecipe,
        "columns": ColumnRecipe,
        "foreign_keys": ForeignKeyRecipe,
    }
    if not place:
        return list(Recipe.model_fields)
    if place[0] in sections:
        return list(sections[str(place[0])].model_fields)
    if place[-1] == "fixtures":
        return list(FixturesRecipe.model_fields)
    named = models.get(str(place[-2])) if len(place) > 1 else None
    return [field.alias or name for name, field in named.model_fields.items()] if named else []


def _reason(error: Exception) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "it is not UTF-8 text"
