"""The application that commands join, the arguments that they share, and how they print JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from synth_ops.recipe import Recipe, load_recipe

app = typer.Typer(
    name="synth-ops",
    help="Test databases that behave like production and contain nobody's data.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")]
StorePath = Annotated[
    str | None,
    typer.Option(
        "--store", help="Where artifacts are kept. Else $SYNTH_OPS_STORE, else `.synth_ops` beside the recipe."
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="Another seed than the recipe's.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, last on standard output.")]


Needs = Annotated[
    str | None, typer.Option("--from", help="Id of the artifact to start from. Else the latest of this recipe.")
]


def load(path: Path, seed: int | None) -> Recipe:
    """The recipe, with another seed where one is given."""
    return load_recipe(path).with_changes(seed=seed)


def print_json(document: dict[str, Any]) -> None:
    """One object on one line, on standard output."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
