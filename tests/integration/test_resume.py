"""A run that is killed, at any moment of any step, is taken up again by the next one; what was live stays live."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from synth_ops.artifacts import ArtifactKind
from synth_ops.endpoints import generations
from synth_ops.recipe import Recipe, load_recipe
from synth_ops.run import open_store, run_all, run_step
from synth_ops.store import Store

STEPS = ["snapshot", "fit", "sample", "gate", "publish"]

DIE_AT_A_TICK = """
import os, signal, sys
from synth_ops.recipe import load_recipe
from synth_ops.run import open_store, run_all

recipe = load_recipe(sys.argv[1])
step, number, heard = sys.argv[2], int(sys.argv[3]), 0

def die(progress):
    global heard
    heard += progress.step == step
    if heard == number:
        os.kill(os.getpid(), signal.SIGKILL)

run_all(recipe, store=open_store(recipe), progress=die)
raise SystemExit(f"{step} ticked {heard} times only")
"""
DIE_BETWEEN_STEPS = """
import os, signal, sys
from synth_ops.recipe import load_recipe
from synth_ops.run import open_store, run_all

def die(result):
    if result.step == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

recipe = load_recipe(sys.argv[1])
run_all(recipe, store=open_store(recipe), on_step=die)
"""


@pytest.fixture
def changed(shop):
    """A shop that was published once, and whose source has changed since."""
    recipe = load_recipe(shop.recipe)
    run_all(recipe, store=open_store(recipe))
    shop.sql("UPDATE customers SET city = 'Lyon' WHERE id % 7 = 0")
    return shop


def run_until(recipe: Recipe, last: str) -> None:
    """Run the steps before `last`, in this process, which has all imports behind it."""
    ref = None
    for step in STEPS[: STEPS.index(last)]:
        ref = run_step(recipe, step, store=open_store(recipe), needs=ref).ref


def killed(program: str, *arguments: object) -> None:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == -signal.SIGKILL, finished.stderr


def left_over(folder: Path) -> list[Path]:
    """Scratch that no run needs any more: in the store, beside the target."""
    store = [
        path for path in (folder / ".synth_ops").iterdir() if path.name not in {".key", "memo", "log", *ArtifactKind}
    ]
    beside = [path for path in folder.iterdir() if path.name.startswith(".test.duckdb")]
    return [*store, *(path for place in beside for path in place.iterdir() if path.name == "stage"),
            *folder.glob("*.wal"), *(folder / ".synth_ops").rglob(".*json*")]  # fmt: skip


@pytest.mark.parametrize(
    ("step", "tick"),
    [("snapshot", 2), ("fit", 1), ("sample", 2), ("gate", 3), ("publish", 1), ("publish", 3), ("publish", 5)],
)
def test_a_run_killed_in_a_step_is_taken_up_again(changed, step, tick):
    before = changed.published()
    recipe = load_recipe(changed.recipe)
    run_until(recipe, step)
    killed(DIE_AT_A_TICK, changed.recipe, step, tick)
    assert changed.published() == before
    results = run_all(recipe, store=open_store(recipe))
    finished = STEPS[: STEPS.index(step)]
    assert [result.step for result in results if result.skipped] == finished
    assert changed.published() != before
    assert [each.number for each in generations(recipe)] == [1, 2]
    assert left_over(changed.folder) == []


def test_a_run_killed_after_the_swap_finds_it_done(changed):
    before = changed.published()
    recipe = load_recipe(changed.recipe)
    run_until(recipe, "publish")
    killed(DIE_AT_A_TICK, changed.recipe, "publish", 6)  # two tables, constraints, staged, remembered, swapped
    assert changed.published() != before
    assert all(result.skipped for result in run_all(recipe, store=open_store(recipe)))
    assert [each.number for each in generations(recipe)] == [1, 2]


@pytest.mark.parametrize("step", ["fit", "gate"])
def test_a_run_killed_between_two_steps_goes_on_from_there(changed, step):
    killed(DIE_BETWEEN_STEPS, changed.recipe, step)
    recipe = load_recipe(changed.recipe)
    results = run_all(recipe, store=open_store(recipe))
    assert [result.step for result in results if result.skipped] == STEPS[: STEPS.index(step) + 1]


def test_a_resumed_run_makes_what_an_undisturbed_one_makes(changed, tmp_path):
    killed(DIE_AT_A_TICK, changed.recipe, "sample", 1)
    recipe = load_recipe(changed.recipe)
    resumed = [result.ref for result in run_all(recipe, store=open_store(recipe))]
    for kind in set(ArtifactKind) - {ArtifactKind.AUDIT, ArtifactKind.SHARD}:
        assert Counter(Store(changed.store).artifacts(kind)) & Counter(resumed)
    undisturbed = run_all(recipe, store=Store(tmp_path / "other"))
    assert [result.ref for result in undisturbed][:4] == resumed[:4]


def test_the_command_line_can_be_killed_at_any_time(changed):
    """Not at a tick, but whenever it happens: the kill comes from outside, a little later each time."""
    before = changed.published()
    command = [str(Path(sys.executable).with_name("synth-ops")), "run", str(changed.recipe)]
    for seconds in (0.4, 1.0, 1.8):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(seconds)
            os.kill(process.pid, signal.SIGKILL)
        recipe = load_recipe(changed.recipe)
        live = next(each.number for each in generations(recipe) if each.live)
        assert live in (1, 2)
        assert (changed.published() == before) == (live == 1)
    results = run_all(recipe, store=open_store(recipe))
    assert results[-1].facts["generation"] == 2
    assert left_over(changed.folder) == []


def test_two_runs_at_once_agree(changed):
    run_until(load_recipe(changed.recipe), "sample")
    command = [str(Path(sys.executable).with_name("synth-ops")), "run", str(changed.recipe)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in running]
    assert {process.returncode for process in running} <= {0, 5}, said  # 5: the other one was just publishing
    assert 0 in {process.returncode for process in running}
    recipe = load_recipe(changed.recipe)
    assert [each.number for each in generations(recipe)] == [1, 2]
    assert all(result.skipped for result in run_all(recipe, store=open_store(recipe)))
    assert left_over(changed.folder) == []
