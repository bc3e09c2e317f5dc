"""What people see of a run: bars on a terminal, plain lines elsewhere, all on standard error."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from synth_ops.artifacts import GateReport
from synth_ops.ports import Progress as Tick
from synth_ops.ports import ProgressListener
from synth_ops.run import StepResult

if TYPE_CHECKING:
    from synth_ops.controls import Trial

errors = Console(stderr=True, highlight=False, soft_wrap=True)
output = Console(highlight=False, soft_wrap=True)
_MOST_WARNINGS = 10
_TEXT_COLUMNS = 2


@contextlib.contextmanager
def watching() -> Iterator[ProgressListener]:
    """A listener that shows what is being worked on."""
    if not errors.is_terminal:
        yield _silent
        return
    columns = (SpinnerColumn(), TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TextColumn("{task.fields[item]}"), console=errors) as bars:
        tasks = {}

        def listen(tick: Tick) -> None:
            if tick.step not in tasks:
                tasks[tick.step] = bars.add_task(tick.step, total=tick.total, item="")
            bars.update(tasks[tick.step], completed=tick.done, total=tick.total, item=tick.item)

        yield listen


def step_line(result: StepResult) -> str:
    """One line about a finished step."""
    what = "nothing changed, skipped" if result.skipped else f"{result.seconds:.1f} s"
    instead = f"; instead of {result.facts['instead_of']}" if "instead_of" in result.facts else ""
    return f"{result.step:<9} {result.ref.id}  {what}{_facts(result)}{instead}"


def failed_gate_line(report: GateReport) -> str:
    """The gate's line, where the copy failed it."""
    blocking = len(report.failures)
    warnings = sum(not outcome.passed for outcome in report.outcomes) - blocking
    counts = f"{_counted(len(report.outcomes), 'check')}, {blocking} blocking"
    return f"{'gate':<9} {report.ref.id}  {report.verdict}: {counts}{_and_warnings(warnings)}"


def trial_lines(trials: Sequence[Trial]) -> list[str]:
    """What the gate's own test found, as a table: a control has as many lines as it has checks to name."""
    rows = [("control", "check meant", "blocked by", "verdict")]
    for each in trials:
        verdict = f"{each.verdict}: {each.reason}" if each.reason else each.verdict.value
        columns = [each.fault], each.meant or ["-"], each.blocked_by or ["-"], [verdict]
        rows += itertools.zip_longest(*columns, fillvalue="")
    *widths, _ = (max(len(cell) for cell in column) for column in zip(*rows, strict=True))
    return [
        "  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]


def print_warnings(warnings: Sequence[str], *, most: int | None = _MOST_WARNINGS) -> None:
    """What a snapshot noticed, a line each, on standard error.

    Args:
        most: How many to show; None for all.
    """
    shown = warnings[:most]
    for warning in shown:
        errors.print(f"warning: {' '.join(warning.split())}", markup=False)
    if len(warnings) > len(shown):
        errors.print(f"and {len(warnings) - len(shown)} more: synth-ops plan shows them", markup=False)


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Cells in columns, all but the first two to the right."""
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    for row in (heads, *rows):
        cells = (
            f"{cell:<{width}}" if place < _TEXT_COLUMNS else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        output.print("  ".join(cells).rstrip(), markup=False)


def _facts(result: StepResult) -> str:
    facts = result.facts
    if "tables" in facts and result.step in ("snapshot", "sample"):
        return f"  {_counted(len(facts['tables']), 'table')}, {_counted(sum(facts['tables'].values()), 'row')}"
    if result.step == "gate":
        noticed = f"{_and_warnings(facts['warnings'])}{_and_moved(facts.get('moved', ()))}"
        return f"  {facts['verdict']}: {_counted(facts['checks'], 'check')}{noticed}"
    if result.step == "publish":
        return f"  generation {facts['generation']} is live at {facts['target']}"
    return ""


def _and_moved(checks: Sequence[str]) -> str:
    return f"; nearer to the limit than on the last good night: {', '.join(checks)}" if checks else ""


def _and_warnings(count: int) -> str:
    return f", {_counted(count, 'warning')}" if count else ""


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _silent(_: Tick) -> None:
    """No bars where nobody watches: one line a step is enough."""
