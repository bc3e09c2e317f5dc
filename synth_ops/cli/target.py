"""Prepare the target, and go back to what was live before."""

from __future__ import annotations

from typing import Annotated

import typer

from synth_ops.cli.application import RecipePath, app
from synth_ops.recipe import load_recipe


@app.command()
def rollback(recipe: RecipePath) -> None:
    """Make the generation before the live one live again."""
    from synth_ops.endpoints import roll_back
    from synth_ops.terminal import output

    generation = roll_back(load_recipe(recipe))
    output.print(f"generation {generation.number} (copy {generation.copy}) is live again", markup=False)


target = typer.Typer(name="target", help="Prepare the target.", no_args_is_help=True)
app.add_typer(target)


@target.command("init")
def target_init(
    recipe: RecipePath,
    environment: Annotated[str, typer.Option("--environment", help="What the target is: staging, test, dev, ...")],
    confirm: Annotated[
        str | None, typer.Option("--confirm", help="The database's name, for scripts. Else it is asked for.")
    ] = None,
) -> None:
    """Mark a database server's database, once, as one that every publication may replace."""
    from synth_ops.endpoints import mark_target
    from synth_ops.terminal import output

    def ask(database: str) -> str:
        if confirm is not None:
            return confirm
        typer.echo(f"the tables of the database {database!r} will be replaced by every publication", err=True)
        return str(typer.prompt("type its name to mark it", err=True))

    loaded = load_recipe(recipe)
    database = mark_target(loaded, environment, ask)
    output.print(f"database {database} is marked as {environment}: synth-ops may publish to it", markup=False)
