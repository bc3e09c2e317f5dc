"""What people see of a run: bars on a terminal, plain lines elsewhere, all on standard error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from synth_ops.ports import Progress as Tick
from synth_ops.ports import ProgressListener
from synth_ops.run import StepResult

errors = Console(stderr=True, highlight=False, soft_wrap=True)
output = Console(highlight=False, soft_wrap=True)


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
    return f"{result.step:<9} {result.ref.id}  {what}{_facts(result)}"


def _facts(result: StepResult) -> str:
    facts = result.facts
    if "tables" in facts and result.step in ("snapshot", "sample"):
        return f"  {len(facts['tables'])} tables, {sum(facts['tables'].values()):,} rows"
    if result.step == "gate":
        warnings = f", {facts['warnings']} warnings" if facts["warnings"] else ""
        return f"  {facts['verdict']}: {facts['checks']} checks{warnings}"
    if result.step == "publish":
        return f"  generation {facts['generation']} is live at {facts['target']}"
    return ""


def _silent(_: Tick) -> None:
    """No bars where nobody watches: one line a step is enough."""
