"""Run the steps: all of them, or one."""

from __future__ import annotations

from typing import Annotated

import typer

from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.cli.application import AsJson, Needs, RecipePath, Seed, StorePath, app, load, print_json
from synth_ops.cli.summary import run_summary
from synth_ops.errors import GateFailedError, SynthOpsError
from synth_ops.plan import step as step_named
from synth_ops.recipe import Recipe
from synth_ops.store import Store


@app.command()
def run(recipe: RecipePath, store: StorePath = None, seed: Seed = None, as_json: AsJson = False) -> None:
    """Refresh the target: snapshot, fit, sample, gate, publish. What has not changed is skipped."""
    from synth_ops.run import StepResult, open_store, run_all
    from synth_ops.terminal import errors, output, print_warnings, step_line, watching

    loaded = load(recipe, seed)
    opened = open_store(loaded, store)
    done: list[StepResult] = []

    def on_step(result: StepResult) -> None:
        done.append(result)
        errors.print(step_line(result), markup=False)
        if result.step == "snapshot":
            print_warnings(result.facts["warnings"])

    try:
        with watching() as progress:
            run_all(loaded, store=opened, progress=progress, on_step=on_step)
    except SynthOpsError as failure:
        _show_failed_gate(opened, failure)
        if as_json:
            print_json(run_summary(opened, done, failure))
        raise
    if as_json:
        print_json(run_summary(opened, done, None))
    else:
        facts = {result.step: result.facts for result in done}
        fell = next((each["instead_of"] for each in facts.values() if "instead_of" in each), "")
        published = f"published generation {facts['publish']['generation']} to {facts['publish']['target']}"
        output.print(f"{published}{f'; instead of {fell}' if fell else ''}", markup=False)
        output.print(f"report    {facts['publish'].get('report', facts['gate']['report'])}", markup=False)


def _verb(name: str, help_text: str) -> None:
    def command(
        recipe: RecipePath, needs: Needs = None, store: StorePath = None, seed: Seed = None, as_json: AsJson = False
    ) -> None:
        loaded = load(recipe, seed)
        _run_verb(name, loaded, needs, store, as_json=as_json)

    command.__doc__ = help_text
    app.command(name=name)(command)


def _run_verb(name: str, recipe: Recipe, needs: str | None, store: str | None, *, as_json: bool) -> None:
    from synth_ops.run import latest, open_store, run_step
    from synth_ops.terminal import output, print_warnings, step_line, watching

    opened = open_store(recipe, store)
    needed = _needed_kind(name)
    given = None
    if needed:
        given = ArtifactRef(kind=needed, id=needs) if needs else latest(recipe, needed, store=opened)
    try:
        with watching() as progress:
            result = run_step(recipe, name, store=opened, needs=given, progress=progress)
    except GateFailedError as failure:
        _show_failed_gate(opened, failure)
        raise
    if name == "snapshot":
        print_warnings(result.facts["warnings"])
    if as_json:
        facts = {"skipped": result.skipped, "seconds": result.seconds, **result.facts}
        print_json({"step": name, **result.ref.to_json(), **facts})
    else:
        output.print(step_line(result), markup=False)


def _needed_kind(step: str) -> ArtifactKind | None:
    return ArtifactKind.COPY if step == "publish" else step_named(step).takes


_verb("snapshot", "Read the source: a frozen copy of it in the store.")
_verb("fit", "Fit the generator on the latest snapshot.")
_verb("sample", "Sample a synthetic copy from the latest model.")


@app.command()
def gate(
    recipe: RecipePath,
    needs: Needs = None,
    store: StorePath = None,
    seed: Seed = None,
    as_json: AsJson = False,
    self_test: Annotated[
        bool,
        typer.Option("--self-test", help="Try the gate itself, on the source's own data: nothing else is judged."),
    ] = False,
) -> None:
    """Judge the latest copy."""
    loaded = load(recipe, seed)
    if self_test:
        _try_gate(loaded, store, as_json=as_json)
    else:
        _run_verb("gate", loaded, needs, store, as_json=as_json)


def _try_gate(recipe: Recipe, store: str | None, *, as_json: bool) -> None:
    from synth_ops.run import open_store, try_gate
    from synth_ops.terminal import output, trial_lines, watching

    with watching() as progress:
        trials = try_gate(recipe, store=open_store(recipe, store), progress=progress)
    if as_json:
        print_json({"trials": [trial.to_json() for trial in trials]})
    else:
        for line in trial_lines(trials):
            output.print(line, markup=False)
    wrong = [trial.fault for trial in trials if not trial.as_meant]
    if wrong:
        raise GateFailedError(f"the gate failed its own test: {', '.join(wrong)}")


_verb("publish", "Publish the latest copy, if it passed its gate.")


def _show_failed_gate(store: Store, failure: SynthOpsError) -> None:
    from synth_ops.artifact_io import read_report
    from synth_ops.terminal import errors, failed_gate_line

    if isinstance(failure, GateFailedError):
        report = read_report(store, ArtifactRef(kind=ArtifactKind.REPORT, id=failure.report_id))
        errors.print(failed_gate_line(report), markup=False)
