"""Look at what was made, judged and published; take the gate's suites out to edit."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from synth_ops.artifacts import Evidence
from synth_ops.cli.application import AsJson, RecipePath, StorePath, app, print_json
from synth_ops.errors import RecipeError
from synth_ops.recipe import load_recipe


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
        print_json({"generators": rows, "page": str(output_file)})
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
        print_json(
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
        print_json({"verdict": found.verdict, "copy": found.copy.id, "report": str(found.html), "failed": names})
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
    for line in _failure_lines(failed):
        output.print(line, markup=False)
    output.print(str(found.html), markup=False)


def _failure_lines(failed: Sequence[Evidence]) -> Iterator[str]:
    """What blocks with its way out, then what only warns; what blocks warns, too, and is told once."""
    from synth_ops.artifacts import Severity
    from synth_ops.report.words import way_out

    blocking = [evidence for evidence in failed if evidence.severity is Severity.CRITICAL]
    told = {(evidence.check, evidence.subject) for evidence in blocking}
    for evidence in [*blocking, *(each for each in failed if (each.check, each.subject) not in told)]:
        limits = (("at least", evidence.minimum), ("at most", evidence.maximum))
        asked = " and ".join(f"{words} {limit:.4g}" for words, limit in limits if limit is not None)
        where = f"{evidence.check} {evidence.subject}: {evidence.value:.4g}"
        yield f"  {evidence.severity:<8} {where}" + (f", asked for is {asked}" if asked else "")
        if evidence.severity is Severity.CRITICAL:
            yield f"           {way_out({'check': evidence.check, 'value': evidence.value})}"


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
