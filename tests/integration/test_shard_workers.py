"""Shards drawn by several processes, or on several machines: the same copy, and nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from synth_ops.artifact_io import read_copy, read_snapshot
from synth_ops.errors import RecipeError, SampleError
from synth_ops.fingerprint import file_digest
from synth_ops.generators.relational_trees import RelationalTrees
from synth_ops.recipe import load_recipe
from synth_ops.run import open_store, run_step
from synth_ops.steps.sample import assemble, sample
from synth_ops.steps.shards import available_workers, sample_shard
from synth_ops.testing.generator_cases import broken_constraints
from synth_ops.testing.generator_contract import Ticks

SETTINGS = {"shard_cells": 4_000}
SCALE = 2.0
NO_DATABASE = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "airflow-db-not-allowed:///"}
"""What an Airflow task finds in its environment: whoever imports airflow in it fails."""


@pytest.fixture
def recipe(shop):
    return load_recipe(shop.change(generator_settings=SETTINGS, scale=SCALE))


@pytest.fixture
def model(recipe):
    store = open_store(recipe)
    snapshot = run_step(recipe, "snapshot", store=store).ref
    return run_step(recipe, "fit", store=store, needs=snapshot).ref


def digests(store, ref):
    return {
        file.relative_to(store.read(ref).path).as_posix(): file_digest(file)
        for data in read_copy(store, ref).tables.values()
        for file in data.files
    }


def test_any_number_of_workers_makes_the_same_copy(recipe, model, tmp_path, monkeypatch):
    for name, value in NO_DATABASE.items():
        monkeypatch.setenv(name, value)
    store, generator = open_store(recipe), RelationalTrees(**SETTINGS)
    made = []
    for workers in (1, 3):
        ticks = Ticks()
        ref, skipped = sample(model, generator, seed=4, scale=SCALE, store=store, progress=ticks, workers=workers)
        assert not skipped
        assert [tick.done for tick in ticks] == sorted(tick.done for tick in ticks)
        assert {tick.item for tick in ticks} == {"customers", "orders"}
        made.append((ref, digests(store, ref)))
        store.read(ref).path.rename(tmp_path / f"copy of {workers}")
    assert made[0] == made[1]
    assert len(made[0][1]) == 8


def test_shards_drawn_apart_make_the_same_copy(recipe, model, tmp_path):
    store = open_store(recipe)
    metadata = read_snapshot(store, run_step(recipe, "snapshot", store=store).ref).metadata
    whole = run_step(recipe, "sample", store=store, needs=model).ref
    expected = digests(store, whole)
    assert broken_constraints(metadata, read_copy(store, whole).tables) == {}
    store.read(whole).path.rename(tmp_path / "copy")
    settled = {"seed": recipe.seed, "scale": SCALE, "store": store}
    count = RelationalTrees(**SETTINGS).load(store.read(model).path / "model", metadata).shards(SCALE)
    for shard in reversed(range(count)):
        fitted = RelationalTrees(**SETTINGS).load(store.read(model).path / "model", metadata)
        ref, skipped = sample_shard(model, fitted, shard, progress=Ticks(), **settled)
        assert not skipped
        assert sample_shard(model, fitted, shard, progress=Ticks(), **settled) == (ref, True)
    again, _ = assemble(model, count, **settled)
    assert again == whole
    assert digests(store, again) == expected


def test_the_environment_says_how_many_workers(monkeypatch):
    monkeypatch.setenv("SYNTH_OPS_WORKERS", "3")
    assert available_workers() == 3
    monkeypatch.delenv("SYNTH_OPS_WORKERS")
    assert available_workers() == min(len(os.sched_getaffinity(0)), 8)
    monkeypatch.setenv("SYNTH_OPS_WORKERS", "many")
    with pytest.raises(RecipeError, match="SYNTH_OPS_WORKERS"):
        available_workers()


def is_worker(process: psutil.Process) -> bool:
    try:
        return "synth_ops.steps.shard_worker" in process.cmdline()
    except psutil.NoSuchProcess:  # dead, if maybe not yet buried
        return False


def workers_of(process: psutil.Process, count: int = 2) -> list[psutil.Process]:
    """The processes that draw for another one, once they are there."""
    for _ in range(1200):
        found = [each for each in process.children(recursive=True) if is_worker(each)]
        if len(found) == count:
            return found
        time.sleep(0.05)
    raise AssertionError("no workers")


def test_no_worker_outlives_its_parent(shop, recipe, model):
    shop.change(scale=900.0)
    command = [Path(sys.executable).with_name("synth-ops"), "run", shop.recipe]
    environment = {**os.environ, "SYNTH_OPS_WORKERS": "2"}
    parent = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    workers = workers_of(psutil.Process(parent.pid))
    time.sleep(1.0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    gone, alive = psutil.wait_procs(workers, timeout=30)
    assert (len(gone), alive) == (2, [])


def test_a_worker_that_dies_is_told(recipe, model):
    killed = []

    def kill_one(progress):
        if not killed:  # what it said before it died may still be on its way
            killed.append(workers_of(psutil.Process())[0])
            killed[0].kill()

    with pytest.raises(SampleError, match=r"died.*SYNTH_OPS_WORKERS=1"):
        sample(
            model,
            RelationalTrees(**SETTINGS),
            seed=1,
            scale=900.0,
            store=open_store(recipe),
            progress=kill_one,
            workers=2,
        )
    assert not [each for each in psutil.Process().children() if is_worker(each)]
