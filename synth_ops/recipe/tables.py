"""What the user knows better than the source, table by table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from synth_ops.metadata import Kind, Orphans
from synth_ops.recipe.section import Section
from synth_ops.recipe.values import Names, OneGenerator, generator_named, plain_json


class ColumnRecipe(Section):
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


class ForeignKeyRecipe(Section):
    """A relationship that the source does not declare."""

    columns: Names
    """The child's column or columns."""
    references: str
    """The parent table."""
    parent_columns: Names | None = None
    """The parent's columns; its primary key when left out."""
    orphans: Orphans = Orphans.REPAIR
    """`repair`: every reference in the copy holds. `keep`: as large a share is broken as in the source."""


class FixturesRecipe(Section):
    """Rows of one table that every publication leaves in the target, with their keys."""

    where: str = ""
    """A condition on the target's own rows, in its SQL, such as `email LIKE '%@test.example'`. The rows that they refer
    to stay as well."""
    rows: tuple[Annotated[Mapping[str, Any], AfterValidator(plain_json)], ...] = ()
    """Rows spelt out, by the names of their columns; other columns take their defaults."""


class TableRecipe(Section):
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
        return generator_named(self.generator) if self.generator else None

    @model_validator(mode="after")
    def _one_fate(self) -> Self:
        fates = [name for name, so in (("exclude", self.exclude), ("keep", self.keep), ("copy", self.copied)) if so]
        if len(fates) > 1:
            raise ValueError("a table has one of `exclude`, `keep` and `copy`")
        if fates and self.generator:
            raise ValueError(f"a table with `{fates[0]}` is not made: it has no `generator`")
        return self
