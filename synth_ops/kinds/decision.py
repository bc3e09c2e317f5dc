"""Decide the kinds of all columns, and which tables hold persons."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from synth_ops.artifacts import TableData
from synth_ops.errors import RecipeError
from synth_ops.kinds.names import PROVIDERS, head_of
from synth_ops.kinds.profile import Profile, profile
from synth_ops.kinds.rules import Decision, decide
from synth_ops.kinds.subjects import subject_tables
from synth_ops.metadata import Column, Kind, Metadata, Table, did_you_mean
from synth_ops.recipe import ColumnRecipe
from synth_ops.sql import connect

_PROVIDED_KINDS = (Kind.PII, Kind.TEXT, Kind.ID, Kind.MEDIA)
_KIND_OF_PROVIDER = {
    "uuid": Kind.ID,
    "integer": Kind.ID,
    "pattern": Kind.ID,
    "text": Kind.TEXT,
    "words": Kind.TEXT,
    "date": Kind.TEXT,
    "json": Kind.TEXT,
    "blob": Kind.MEDIA,
}


def detect(
    metadata: Metadata,
    tables: Mapping[str, TableData],
    *,
    overrides: Mapping[str, Mapping[str, ColumnRecipe]] | None = None,
    subjects: Mapping[str, bool] | None = None,
) -> Metadata:
    """Decide every column's kind, provider and evidence, and every table's `subject`.

    Args:
        metadata: Keys and types; kinds that it holds already are decided anew.
        tables: The snapshot's data; a table that is missing here is judged by its names and types alone.
        overrides: What the recipe says of columns, by table and column name; it wins.
        subjects: What the recipe says of tables; it wins.

    Raises:
        RecipeError: An override names a provider that does not exist.
    """
    overrides = overrides or {}
    _check_providers(overrides)
    decided: list[Table] = []
    with connect() as connection:
        for table in metadata.tables:
            data = tables.get(table.name, TableData(rows=0, files=()))
            profiles = profile(connection, table, data)
            wishes = overrides.get(table.name, {})
            columns = tuple(
                _decided(table, column, profiles[column.name], wishes.get(column.name)) for column in table.columns
            )
            decided.append(dataclasses.replace(table, columns=columns))
    judged = dataclasses.replace(metadata, tables=tuple(decided))
    persons = subject_tables(judged, subjects or {})
    marked = tuple(_with_subject(table, table.name in persons) for table in judged.tables)
    return dataclasses.replace(judged, tables=marked)


def _with_subject(table: Table, subject: bool) -> Table:
    """The table, marked; what is just called `name` in a table of persons is theirs."""
    columns = tuple(
        dataclasses.replace(column, kind=Kind.PII, provider="name", evidence="a name in a table of persons")
        if subject and column.provider == "words" and head_of(column.name) == ("name",)
        else column
        for column in table.columns
    )
    return dataclasses.replace(table, columns=columns, subject=subject)


def _decided(table: Table, column: Column, measured: Profile, wish: ColumnRecipe | None) -> Column:
    decision = decide(table, column, measured)
    if wish and (wish.kind or wish.provider):
        decision = _wished(decision, wish)
    return dataclasses.replace(column, kind=decision.kind, provider=decision.provider, evidence=decision.evidence)


def _wished(decision: Decision, wish: ColumnRecipe) -> Decision:
    kind = wish.kind or _KIND_OF_PROVIDER.get(wish.provider, Kind.PII)
    keeps = kind is decision.kind or (kind in _PROVIDED_KINDS and decision.kind in _PROVIDED_KINDS)
    return Decision(
        kind=kind, provider=wish.provider or (decision.provider if keeps else ""), evidence="set in the recipe"
    )


def _check_providers(overrides: Mapping[str, Mapping[str, ColumnRecipe]]) -> None:
    problems = [
        f"{table}.{column}: there is no provider {wish.provider!r}{did_you_mean(wish.provider, PROVIDERS)}"
        for table, columns in overrides.items()
        for column, wish in columns.items()
        if wish.provider and wish.provider not in PROVIDERS
    ]
    if problems:
        raise RecipeError("; ".join(problems), f"providers: {', '.join(sorted(PROVIDERS))}")
