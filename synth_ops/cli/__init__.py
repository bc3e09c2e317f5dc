"""The command line: `synth-ops init | plan | run | snapshot | fit | sample | gate | publish | suite | status | ...`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from synth_ops import __version__
from synth_ops.cli import planning, steps, target, views
from synth_ops.cli.application import app
from synth_ops.errors import RecipeError, SynthOpsError, unforeseen
from synth_ops.recipe import recipe_schema

__all__ = ["app", "main", "planning", "steps", "target", "views"]

_INTERRUPTED = 130
_USAGE_ERROR: Any = typer.BadParameter.__base__
"""Click's, whose name typer does not tell."""


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"{__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What may stand before any command."""


@app.command()
def schema() -> None:
    """Print the JSON schema of a recipe, for editors."""
    sys.stdout.write(json.dumps(recipe_schema(), indent=2) + "\n")


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"{__version__}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every failure is one line on standard error and an exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(args=given or ["--help"], prog_name="synth-ops", standalone_mode=False)
    except SynthOpsError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except Exception as error:  # noqa: BLE001  the text of an unforeseen error may hold values: only its place is shown
        if isinstance(error, _USAGE_ERROR):
            _fail(f"{error.format_message().rstrip('.')} (see synth-ops --help)", RecipeError.exit_code)
        _fail(str(unforeseen(error)), SynthOpsError.exit_code)
    if code == _INTERRUPTED:
        _fail("interrupted; what was live is live still, and the next run resumes", _INTERRUPTED)


def _fail(message: str, code: int) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"synth-ops: {' '.join(message.split())}\n")
    raise SystemExit(code)
