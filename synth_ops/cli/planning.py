"""Write a recipe, and show what a run by it would do."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from synth_ops.cli.application import RecipePath, StorePath, app
from synth_ops.errors import RecipeError
from synth_ops.location import parse_location
from synth_ops.plan import STEPS
from synth_ops.recipe import load_recipe, parse_recipe
from synth_ops.store import Store


@app.command()
def init(
    source: Annotated[str, typer.Argument(help="What to copy: a URL such as duckdb:///file.duckdb, or a path.")],
    target: Annotated[str, typer.Option("--target", help="Where to publish.")],
    recipe: Annotated[Path, typer.Option("--output", "-o", help="The recipe to write.")] = Path("recipe.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the recipe.")] = False,
) -> None:
    """Write a recipe; keys that the source does not declare are proposed as comments, with the evidence."""
    from synth_ops.artifact_io import read_snapshot
    from synth_ops.propose import propose, recipe_text
    from synth_ops.run import run_step
    from synth_ops.terminal import output, watching

    if recipe.exists() and not force:
        raise RecipeError(f"{recipe} exists", "choose another --output, or --force to overwrite it")
    if not recipe.absolute().parent.is_dir():
        raise RecipeError(f"there is no folder {recipe.absolute().parent}", "make it, or choose another --output")
    for text in (source, target):
        parse_location(text, Path.cwd())  # as it was typed
    elsewhere = recipe.absolute().parent != Path.cwd()
    written = [_absolute(text) if elsewhere else text for text in (source, target)]
    draft = parse_recipe({"source": written[0], "target": written[1]}).at(recipe.absolute().parent, recipe.stem)
    with tempfile.TemporaryDirectory() as folder, watching() as progress:
        store = Store(folder)
        snapshot = read_snapshot(store, run_step(draft, "snapshot", store=store, progress=progress).ref)
        proposals = propose(snapshot.metadata, snapshot.tables)
        recipe.write_text(recipe_text(written[0], written[1], proposals, snapshot.metadata), encoding="utf-8")
    output.print(
        f"wrote {recipe}: {len(snapshot.metadata.tables)} tables, {len(proposals)} keys proposed in comments; "
        "of the rows that it read nothing was kept",
        markup=False,
    )
    if proposals:
        output.print(
            f"first: uncomment the keys that are right in {recipe}: by these alone the copy's tables can be joined",
            markup=False,
        )
    output.print(f"next: synth-ops plan {recipe}, then synth-ops run {recipe}", markup=False)


@app.command()
def plan(recipe: RecipePath, store: StorePath = None) -> None:
    """Show what a run would do: tables in order, keys, what each column means and why."""
    from synth_ops.artifact_io import read_snapshot
    from synth_ops.endpoints import target_differences
    from synth_ops.run import licences, open_store, run_step, table_makers
    from synth_ops.terminal import output, print_warnings, watching

    loaded = load_recipe(recipe)
    opened = open_store(loaded, store)
    with watching() as progress:
        result = run_step(loaded, "snapshot", store=opened, progress=progress)
    snapshot = read_snapshot(opened, result.ref)
    print_warnings(result.facts["warnings"], most=None)
    makers = table_makers(loaded, snapshot)
    for line in _plan_lines(snapshot, makers[0][1]):
        output.print(line, markup=False)
    excluded = [name for name, table in loaded.tables.items() if table.exclude]
    if excluded:
        output.print(f"\nexcluded: {', '.join(excluded)}", markup=False)
    taken = "was there already" if result.skipped else "was taken"
    output.print(f"\nsnapshot {result.ref.id} of the source {taken}, in the store {opened.label}", markup=False)
    output.print(f"generator: {', else '.join(label for label, _ in makers)}", markup=False)
    for line in licences(loaded):
        output.print(line, markup=False)
    steps = " -> ".join(step.name for step in STEPS[1:])
    output.print(f"then: {steps} -> {loaded.target_location().label}", markup=False)
    for line in target_differences(loaded, snapshot.metadata):
        output.print(f"target: {line}", markup=False)


def _absolute(location: str) -> str:
    scheme, separator, rest = location.partition(":///")
    if (rest or location).startswith("${"):
        return location  # what the variable stands for may be absolute
    if not separator:
        return location if "://" in location else str(Path(location).expanduser().absolute())
    return f"{scheme}:///{Path(rest).expanduser().absolute()}"


def _role(table: Any) -> str:
    return "  (people)" if table.subject else "  (copied as it is)" if table.copied else ""


def _plan_lines(snapshot: Any, makers: Mapping[str, str]) -> list[str]:
    from synth_ops.metadata import generation_order
    from synth_ops.rules import describe

    metadata = snapshot.metadata
    lines = []
    for name in generation_order(metadata)[0]:
        table = metadata.table(name)
        lines.append(f"\n{name}  {snapshot.tables[name].rows:,} rows{_role(table)}")
        if name in makers:
            lines.append(f"  columns made by {makers[name]}")
        if table.primary_key:
            lines.append(f"  primary key ({', '.join(table.primary_key)})")
        lines += [f"  unique ({', '.join(unique)})" for unique in table.uniques]
        lines += [
            f"  ({', '.join(key.columns)}) -> {key.parent}({', '.join(key.parent_columns)}), orphans: {key.orphans}"
            for key in table.foreign_keys
        ]
        lines += [f"  check {check.expression}" for check in table.checks]
        lines += [f"  rule {describe(rule)}, in {rule.rows:,} rows of {rule.rows:,}" for rule in table.rules]
        width = max(len(column) for column in table.column_names)
        lines += [
            f"    {column.name:<{width}}  {column.kind:<11} {column.provider:<12} {column.evidence}".rstrip()
            for column in table.columns
        ]
    return lines
