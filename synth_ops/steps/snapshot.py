"""Take a snapshot: a frozen, content-addressed read of the source at one instant."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from synth_ops import __version__
from synth_ops.artifact_io import tables_to_json, write_table
from synth_ops.artifacts import ArtifactKind, ArtifactRef, TableData
from synth_ops.errors import MetadataError, RecipeError, SourceError
from synth_ops.fingerprint import file_digests, fingerprint
from synth_ops.kinds import detect
from synth_ops.metadata import Check, Column, ForeignKey, Metadata, Table, did_you_mean
from synth_ops.ports import Progress, ProgressListener, Source, SourceSession
from synth_ops.recipe import ColumnRecipe, Recipe, TableRecipe
from synth_ops.rules import find_rules
from synth_ops.steps.constraints import hold_to_data
from synth_ops.steps.drift import refuse
from synth_ops.steps.reference_tables import declare
from synth_ops.steps.subset import part_of
from synth_ops.store import Store

_NOBODY = (
    "no table seems to hold people, so privacy counts rows, not persons: "
    "say so in the recipe, `subject: true` under the table that does, or `subject: false` under any"
)


def take_snapshot(
    recipe: Recipe, source: Source, *, store: Store, progress: ProgressListener, before: Metadata | None = None
) -> tuple[ArtifactRef, bool]:
    """Read every table of the source into Parquet, unless the same state was read before.

    Args:
        before: What the recipe's snapshot before said of the schema; None where there was none.

    Returns:
        The snapshot, and whether it was there already.

    Raises:
        SourceError: The source can't be read, or its schema has changed more than the recipe lets pass.
        MetadataError: The recipe's keys do not fit the source, or its data break the keys and checks.
    """
    what = {"tables", "subset", "require_read_only"}
    declared = recipe.model_dump(mode="json", include=what, exclude={"tables": {"__all__": {"generator"}}})
    key = ("snapshot", __version__, recipe.source_location().scheme, source.version, declared)
    state = source.state()
    known = store.recall(*key, state) if state else None
    if known:
        return known, True
    with store.scratch() as folder:
        with source.session() as session:
            metadata, warnings = complete_metadata(session.metadata(), recipe)
            warnings += _privileges(session, recipe)
            if before is not None:
                refuse(before, metadata, recipe)
            tables: dict[str, TableData] = {}
            with part_of(metadata, recipe, session, progress) as (read, about_the_part):
                for number, table in enumerate(metadata.tables):
                    progress(Progress(step="snapshot", item=table.name, done=number, total=len(metadata.tables)))
                    reader = read(table)
                    tables[table.name] = write_table(folder, table.name, reader.schema, reader)
            warnings += [*dict.fromkeys(session.warnings), *about_the_part]
            position = dict(session.position)
        metadata = dataclasses.replace(
            metadata,
            tables=tuple(dataclasses.replace(table, rows=tables[table.name].rows) for table in metadata.tables),
        )
        declared_checks = {name: table.checks for name, table in recipe.tables.items()}
        metadata, broken = hold_to_data(metadata, tables, declared_checks)
        warnings += broken
        progress(Progress(step="snapshot", item="kinds of columns", done=len(tables), total=len(tables)))
        metadata = detect(
            metadata,
            tables,
            overrides={name: table.columns for name, table in recipe.tables.items()},
            subjects={name: table.subject for name, table in recipe.tables.items() if table.subject is not None},
        )
        progress(Progress(step="snapshot", item="rules", done=len(tables), total=len(tables)))
        metadata = find_rules(
            metadata,
            tables,
            ignored=[name for name, table in recipe.tables.items() if not table.rules],
            decided=[
                (n, column) for n, table in recipe.tables.items() for column, c in table.columns.items() if c.kind
            ],
        )
        metadata = declare(metadata, [name for name, table in recipe.tables.items() if table.copied])
        warnings += [
            f"table {table.name!r} is copied as it is, with {table.rows:,} real rows"
            for table in metadata.tables
            if table.copied
        ]
        decided = any(table.subject is not None for table in recipe.tables.values())
        if not decided and not any(table.subject for table in metadata.tables) and any(t.rows for t in tables.values()):
            warnings.append(_NOBODY)
        body: dict[str, Any] = {
            "metadata": metadata.to_json(),
            "tables": tables_to_json(folder, tables),
            "warnings": warnings,
        }
        digests = file_digests(file for data in tables.values() for file in data.files)
        content = fingerprint("snapshot", __version__, body, list(digests.values()))
        ref = ArtifactRef(kind=ArtifactKind.SNAPSHOT, id=content)
        known_content = store.exists(ref)
        # the same rows are the same snapshot, wherever the source's log stands by now
        store.write(ref, {**body, "position": position}, folder, digests)
    if state and state == source.state():  # nobody wrote to it meanwhile
        store.remember(*key, state, ref=ref)
    return ref, known_content


def _privileges(session: SourceSession, recipe: Recipe) -> list[str]:
    """A warning where the source's role could write to it, or a refusal where the recipe wants one."""
    if not session.may_write:
        return []
    hint = "give it a role that has SELECT alone"
    if recipe.require_read_only:
        raise SourceError(f"the recipe requires a source that can't be written, and the role {session.may_write}", hint)
    return [f"the source is only read, but its role {session.may_write}: {hint}"]


def complete_metadata(reflected: Metadata, recipe: Recipe) -> tuple[Metadata, list[str]]:
    """What the source declares, completed by what the recipe does.

    Returns:
        The metadata, valid in itself, and what had to be left out, a line each.

    Raises:
        RecipeError: The recipe names a table or column that the source does not have.
        MetadataError: Together they contradict themselves; every problem is named.
    """
    _refuse_unknown_names(reflected, recipe)
    reflected, warnings = _without_excluded_columns(reflected, recipe)
    excluded = {name for name, table in recipe.tables.items() if table.exclude}
    kept = [table for table in reflected.tables if table.name not in excluded]
    if not kept:
        raise MetadataError(["the source has no tables to copy"], "check the source and the recipe's `exclude`")
    warnings += [
        f"{table.name}({', '.join(key.columns)}) refers to {key.parent}, which is excluded: made as plain columns"
        for table in kept
        for key in table.foreign_keys
        if key.parent in excluded
    ]
    primary_keys = {table.name: table.primary_key for table in reflected.tables} | {
        name: table.primary_key for name, table in recipe.tables.items() if table.primary_key
    }
    metadata = dataclasses.replace(
        reflected,
        tables=tuple(
            _complete_table(table, recipe.tables.get(table.name, TableRecipe()), primary_keys, excluded)
            for table in kept
        ),
    )
    metadata.validate()
    return metadata, warnings


def _refuse_unknown_names(reflected: Metadata, recipe: Recipe) -> None:
    named = [*recipe.tables, *([recipe.subset.root] if recipe.subset else [])]
    problems = [
        f"the source has no table {name!r}{did_you_mean(name, reflected.table_names)}"
        for name in dict.fromkeys(named)
        if name not in reflected.table_names
    ]
    problems += [
        f"table {name!r} has no column {column!r}{did_you_mean(column, reflected.table(name).column_names)}"
        for name, table in recipe.tables.items()
        if name in reflected.table_names
        for column in table.columns
        if column not in reflected.table(name).column_names
    ]
    if recipe.subset and recipe.subset.root in recipe.tables and recipe.tables[recipe.subset.root].exclude:
        problems.append(f"the subset's root {recipe.subset.root!r} is excluded")
    if problems:
        raise RecipeError("; ".join(problems), "correct the recipe's `tables` section")


def _without_excluded_columns(reflected: Metadata, recipe: Recipe) -> tuple[Metadata, list[str]]:
    """What names an excluded column goes with it: keys, references from and to it, checks."""
    excluded = {
        name: {column for column, each in table.columns.items() if each.exclude}
        for name, table in recipe.tables.items()
    }
    warnings: list[str] = []
    tables = []
    for table in reflected.tables:
        gone = excluded.get(table.name, set())
        references = tuple(
            key
            for key in table.foreign_keys
            if gone.isdisjoint(key.columns) and excluded.get(key.parent, set()).isdisjoint(key.parent_columns)
        )
        warnings += [
            f"{table.name}({', '.join(key.columns)}) -> {key.parent} names an excluded column: made as plain columns"
            for key in table.foreign_keys
            if key not in references
        ]
        computed = tuple(each for each in table.generated if not _mentions(each.expression, gone))
        lost = gone | {each.name for each in table.generated if each not in computed}
        tables.append(
            dataclasses.replace(
                table,
                columns=tuple(column for column in table.columns if column.name not in gone),
                primary_key=table.primary_key if gone.isdisjoint(table.primary_key) else (),
                uniques=tuple(key for key in table.uniques if gone.isdisjoint(key)),
                foreign_keys=references,
                checks=tuple(check for check in table.checks if gone.isdisjoint(check.columns)),
                generated=computed,
                indexes=tuple(each for each in table.indexes if not _mentions(each.definition, lost)),
            )
        )
    return dataclasses.replace(reflected, tables=tuple(tables)), warnings


def _mentions(definition: str, names: set[str]) -> bool:
    """Whether one of the names stands in a piece of SQL, as a whole word."""
    spellings = {name.replace(mark, 2 * mark) for name in names for mark in ('"', "`")}
    return any(re.search(rf"(?<![\w$]){re.escape(each)}(?![\w$])", definition) for each in spellings)


def _complete_table(
    table: Table, declared: TableRecipe, primary_keys: Mapping[str, tuple[str, ...]], excluded: set[str]
) -> Table:
    references = {key.columns: key for key in table.foreign_keys if key.parent not in excluded}
    for reference in declared.foreign_keys:
        parent_columns = reference.parent_columns or primary_keys.get(reference.references, ())
        if not parent_columns and reference.references in primary_keys:
            raise MetadataError(
                [f"foreign key of {table.name!r}: its parent {reference.references!r} has no primary key"],
                "name its columns as `parent_columns`",
            )
        references[reference.columns] = ForeignKey(
            columns=reference.columns,
            parent=reference.references,
            parent_columns=parent_columns,
            orphans=reference.orphans,
        )
    return dataclasses.replace(
        table,
        columns=tuple(_complete_column(column, declared.columns.get(column.name)) for column in table.columns),
        primary_key=declared.primary_key or table.primary_key,
        uniques=tuple(dict.fromkeys((*table.uniques, *declared.unique))),
        foreign_keys=tuple(references.values()),
        checks=(*table.checks, *(_declared_check(table, text) for text in declared.checks)),
    )


def _complete_column(column: Column, declared: ColumnRecipe | None) -> Column:
    if declared is None:
        return column
    uses = {name: getattr(declared, name) for name in ("sensitive", "quasi_identifier", "target")}
    return dataclasses.replace(column, **uses)


def _declared_check(table: Table, expression: str) -> Check:
    import sqlglot
    from sqlglot import expressions

    names: dict[str, Column] = {column.name.lower(): column for column in table.columns}
    try:
        tree = sqlglot.parse_one(expression, dialect="duckdb")
    except sqlglot.errors.SqlglotError:
        raise RecipeError(
            f"a check of table {table.name!r} is not an SQL expression", "DuckDB's dialect is meant"
        ) from None
    used = dict.fromkeys(node.name for node in tree.find_all(expressions.Column))
    unknown = [name for name in used if name.lower() not in names]
    if unknown:
        raise RecipeError(
            f"a check of table {table.name!r} names column {unknown[0]!r}, which it does not have"
            f"{did_you_mean(unknown[0], table.column_names)}",
            "correct the recipe's `tables` section",
        )
    return Check(expression=expression, columns=tuple(names[name.lower()].name for name in used))
