"""The command line: `synth-ops init | plan | run | snapshot | fit | sample | gate | publish | suite | status | ...`."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from synth_ops import __version__
from synth_ops.artifacts import ArtifactKind, ArtifactRef, Evidence
from synth_ops.errors import ArtifactError, GateFailedError, RecipeError, SynthOpsError, unforeseen
from synth_ops.location import parse_location
from synth_ops.plan import STEPS
from synth_ops.plan import step as step_named
from synth_ops.recipe import Recipe, load_recipe, parse_recipe, recipe_schema
from synth_ops.store import Store

_INTERRUPTED = 130
_T = TypeVar("_T")
_USAGE_ERROR: Any = typer.BadParameter.__base__
"""Click's, whose name typer does not tell."""

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
        "of the rows that it read nothing was kept\n"
        f"next: synth-ops plan {recipe}, then synth-ops run {recipe}",
        markup=False,
    )


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


@app.command()
def run(recipe: RecipePath, store: StorePath = None, seed: Seed = None, as_json: AsJson = False) -> None:
    """Refresh the target: snapshot, fit, sample, gate, publish. What has not changed is skipped."""
    from synth_ops.run import StepResult, open_store, run_all
    from synth_ops.terminal import errors, output, print_warnings, step_line, watching

    loaded = _load(recipe, seed)
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
            _print_json(_summary(opened, done, failure))
        raise
    if as_json:
        _print_json(_summary(opened, done, None))
    else:
        facts = {result.step: result.facts for result in done}
        fell = next((each["instead_of"] for each in facts.values() if "instead_of" in each), "")
        published = f"published generation {facts['publish']['generation']} to {facts['publish']['target']}"
        output.print(f"{published}{f'; instead of {fell}' if fell else ''}", markup=False)
        output.print(f"report    {facts['publish'].get('report', facts['gate']['report'])}", markup=False)


Needs = Annotated[
    str | None, typer.Option("--from", help="Id of the artifact to start from. Else the latest of this recipe.")
]


def _verb(name: str, help_text: str) -> None:
    def command(
        recipe: RecipePath, needs: Needs = None, store: StorePath = None, seed: Seed = None, as_json: AsJson = False
    ) -> None:
        loaded = _load(recipe, seed)
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
        _print_json({"step": name, **result.ref.to_json(), **facts})
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
    loaded = _load(recipe, seed)
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
        _print_json({"trials": [trial.to_json() for trial in trials]})
    else:
        for line in trial_lines(trials):
            output.print(line, markup=False)
    wrong = [trial.fault for trial in trials if not trial.as_meant]
    if wrong:
        raise GateFailedError(f"the gate failed its own test: {', '.join(wrong)}")


_verb("publish", "Publish the latest copy, if it passed its gate.")


@app.command()
def suite(
    recipe: RecipePath,
    output_folder: Annotated[Path, typer.Option("--output", "-o", help="The folder to write to.")] = Path("suites"),
    store: StorePath = None,
) -> None:
    """Export the integrity suite of every table and the limits of all measures: Great Expectations JSON, to edit."""
    from synth_ops.run import export_suites, open_store
    from synth_ops.terminal import output, watching

    loaded = load_recipe(recipe)
    with watching() as progress:
        written = export_suites(loaded, output_folder, store=open_store(loaded, store), progress=progress)
    output.print(
        f"wrote {len(written)} suites to {output_folder}; name it under `gate: suites:` to use them", markup=False
    )


@app.command()
def compare(
    recipe: RecipePath,
    generators: Annotated[
        str, typer.Option("--generators", help="Names, with commas between them. Else those that the recipe names.")
    ] = "",
    output_file: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("comparison.html"),
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Fit, sample and gate several generators on the same snapshot, and show them side by side; publish nothing."""
    from synth_ops.comparison import compare as compare_generators
    from synth_ops.report import comparison_table, render_comparison
    from synth_ops.run import open_store
    from synth_ops.terminal import print_table, watching

    loaded = load_recipe(recipe)
    named = [name.strip() for name in generators.split(",") if name.strip()]
    with watching() as progress:
        found = compare_generators(loaded, named, store=open_store(loaded, store), progress=progress)
    rows = [each.to_json() for each in found]
    page = render_comparison(rows, recipe=loaded.name, source=loaded.source_location().label)
    if as_json:
        _write_text(page, output_file, told=False)
        _print_json({"generators": rows, "page": str(output_file)})
        return
    print_table(*comparison_table(rows))
    for row in rows:
        if row["why"]:
            _say(f"{row['generator']}: {row['why']}")
    _write_text(page, output_file)


@app.command()
def status(recipe: RecipePath, as_json: AsJson = False) -> None:
    """Show the generations that the target keeps, and which one is live."""
    from synth_ops.endpoints import generations
    from synth_ops.terminal import output

    loaded = load_recipe(recipe)
    found = generations(loaded)
    if as_json:
        _print_json(
            {
                "target": loaded.target_location().label,
                "generations": [
                    {
                        "number": g.number,
                        "copy": g.copy,
                        "published_at": g.published_at,
                        "live": g.live,
                        "tables": dict(g.tables),
                    }
                    for g in found
                ],
            }
        )
        return
    output.print(loaded.target_location().label, markup=False)
    for each in found:
        rows = f"{len(each.tables)} tables, {sum(each.tables.values()):,} rows"
        output.print(
            f"{'*' if each.live else ' '} {each.number:>4}  {each.published_at}  copy {each.copy}  {rows}", markup=False
        )
    if not found:
        output.print("nothing was published here yet", markup=False)


class ReportFormat(StrEnum):
    """What `report` writes."""

    TEXT = "text"
    HTML = "html"
    JSON = "json"
    MARKDOWN = "markdown"


@app.command()
def report(
    recipe: RecipePath,
    store: StorePath = None,
    as_json: AsJson = False,
    form: Annotated[
        ReportFormat,
        typer.Option("--format", help="A few lines; the page, with the publication; the numbers; a summary for chat."),
    ] = ReportFormat.TEXT,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write there, not to standard output; html: report.html.")
    ] = None,
    data_docs: Annotated[
        Path | None, typer.Option("--data-docs", help="Write Great Expectations' Data Docs into this empty folder.")
    ] = None,
) -> None:
    """Show the latest gate report: the verdict, what failed, where the page is; or write it in another form."""
    from synth_ops.report import render_html, render_json, render_markdown
    from synth_ops.run import latest_report, open_store
    from synth_ops.terminal import output

    loaded = load_recipe(recipe)
    found, document, context = latest_report(loaded, store=open_store(loaded, store))
    failed = [outcome.evidence for outcome in found.outcomes if not outcome.passed]
    if as_json:
        names = [
            {"check": e.check, "subject": e.subject, "value": e.value, "severity": e.severity.value} for e in failed
        ]
        _print_json({"verdict": found.verdict, "copy": found.copy.id, "report": str(found.html), "failed": names})
        return
    if data_docs:
        _write_data_docs([outcome.evidence for outcome in found.outcomes], data_docs)
        return
    if form is not ReportFormat.TEXT:
        render = {"html": render_html, "json": render_json, "markdown": render_markdown}[form.value]
        written = file or (Path("report.html") if form is ReportFormat.HTML else None)
        _write_text(render(document, context), written)
        return
    output.print(f"{found.verdict}: {len(found.outcomes)} checks, {len(failed)} not met", markup=False)
    for evidence in failed:
        output.print(
            f"  {evidence.severity:<8} {evidence.check} {evidence.subject}: {evidence.value:.4g}", markup=False
        )
    output.print(str(found.html), markup=False)


def _write_data_docs(evidence: Sequence[Evidence], folder: Path) -> None:
    from synth_ops.checks.engine import write_data_docs
    from synth_ops.terminal import output

    try:
        folder.mkdir(exist_ok=True)
        full = any(folder.iterdir())
    except OSError as error:
        raise RecipeError(f"can't write to {folder}: {error.strerror}", "choose another --data-docs") from None
    if full:
        raise RecipeError(f"the folder {folder} is not empty", "choose another --data-docs, or remove it")
    output.print(f"wrote {write_data_docs(evidence, folder)}", markup=False)


def _write_text(text: str, file: Path | None, *, told: bool = True) -> None:
    from synth_ops.terminal import output

    if file is None:
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"can't write {file}: {error.strerror}", "choose another --output") from None
    if told:
        output.print(f"wrote {file}", markup=False)


def _say(line: str) -> None:
    from synth_ops.terminal import output

    output.print(line, markup=False)


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


def _load(path: Path, seed: int | None) -> Recipe:
    return load_recipe(path).with_changes(seed=seed)


def _absolute(location: str) -> str:
    scheme, separator, rest = location.partition(":///")
    if (rest or location).startswith("${"):
        return location  # what the variable stands for may be absolute
    if not separator:
        return location if "://" in location else str(Path(location).expanduser().absolute())
    return f"{scheme}:///{Path(rest).expanduser().absolute()}"


def _show_failed_gate(store: Store, failure: SynthOpsError) -> None:
    from synth_ops.artifact_io import read_report
    from synth_ops.terminal import errors, failed_gate_line

    if isinstance(failure, GateFailedError):
        report = read_report(store, ArtifactRef(kind=ArtifactKind.REPORT, id=failure.report_id))
        errors.print(failed_gate_line(report), markup=False)


def _print_json(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")


def _summary(store: Store, done: Sequence[Any], failure: SynthOpsError | None) -> dict[str, Any]:
    """What `run --json` prints, also when a step failed: then without what was not made."""
    from synth_ops.artifact_io import read_report

    artifacts = {result.step: result.ref.id for result in done}
    facts = {result.step: result.facts for result in done}
    if isinstance(failure, GateFailedError):
        artifacts["gate"] = failure.report_id
    judged = ArtifactRef(kind=ArtifactKind.REPORT, id=artifacts["gate"]) if "gate" in artifacts else None
    verdict = _if_readable(lambda: read_report(store, judged)) if judged else None
    if verdict:  # another generator may have stepped in
        artifacts |= {"sample": verdict.copy.id, "fit": store.facts(verdict.copy)["model"]["id"]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "verdict": verdict.verdict if verdict else None,
        "published": "publish" in facts,
        "generation": facts.get("publish", {}).get("generation"),
        "artifacts": artifacts,
        "skipped": [result.step for result in done if result.skipped],
        "instead_of": next((each["instead_of"] for each in facts.values() if "instead_of" in each), None),
        "copy": _if_readable(lambda: _copy_summary(store, artifacts["sample"])) if "sample" in artifacts else None,
        "report": str(verdict.html) if verdict else None,
        "seconds": {result.step: round(result.seconds, 3) for result in done},
        "peak_bytes": peak if sys.platform == "darwin" else peak * 1024,
        "error": str(failure) if failure else None,
    }


def _if_readable(read: Callable[[], _T]) -> _T | None:
    """What the store holds; None where it can't be read any more: the step that failed has said so."""
    try:
        return read()
    except ArtifactError:
        return None


def _copy_summary(store: Store, copy_id: str) -> dict[str, Any]:
    from synth_ops.artifact_io import read_copy

    ref = ArtifactRef(kind=ArtifactKind.COPY, id=copy_id)
    tables = {
        name: {"rows": data.rows, "files": [str(file) for file in data.files]}
        for name, data in read_copy(store, ref).tables.items()
    }
    return {"path": str(store.read(ref).path), "tables": tables}


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
