"""A nightly refit takes over the blocks whose data did not change, and no others; a model that was changed, nothing."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from synth_ops.artifact_io import read_snapshot
from synth_ops.errors import ArtifactTamperedError
from synth_ops.fingerprint import file_digest
from synth_ops.generators.relational_trees.block import BlockSettings
from synth_ops.generators.relational_trees.learning.method import TreeBlocks
from synth_ops.generators.relational_trees.learning.snapshot import learn
from synth_ops.generators.relational_trees.model import blocks_of, load
from synth_ops.recipe import load_recipe
from synth_ops.run import open_store, run_step
from synth_ops.testing.contracts import unheard

SETTINGS = BlockSettings()


def snapshot_of(shop):
    recipe = load_recipe(shop.recipe)
    store = open_store(recipe)
    return read_snapshot(store, run_step(recipe, "snapshot", store=store).ref)


def kept(models, before):
    """Which blocks are the very ones of before."""
    known = {id(block) for block in blocks_of(before).values()}
    return {
        (name, target.name): id(target.block) in known for name, model in models.items() for target in model.targets
    }


def relearn(shop, before):
    return learn(snapshot_of(shop), TreeBlocks(settings=SETTINGS, known=blocks_of(before)), unheard)


def test_what_did_not_change_is_kept(shop):
    before = learn(snapshot_of(shop), TreeBlocks(settings=SETTINGS), unheard)
    assert all(kept(relearn(shop, before), before).values())
    shop.sql("UPDATE orders SET state = 'lost' WHERE id < 400")
    found = kept(relearn(shop, before), before)
    assert found["customers", "column|city"]
    assert found["customers", "column|credit"]
    assert not found["orders", "column|state"]


def test_a_changed_parent_changes_what_depends_on_it(shop):
    before = learn(snapshot_of(shop), TreeBlocks(settings=SETTINGS), unheard)
    shop.sql("UPDATE customers SET city = 'Oslo' WHERE id < 200")
    found = kept(relearn(shop, before), before)
    assert not found["customers", "column|city"]
    assert not found["orders", "column|state"]


def test_a_refit_is_the_same_model_as_a_fit(shop, tmp_path):
    recipe = load_recipe(shop.recipe)
    models = []
    shop.sql("UPDATE orders SET state = 'lost' WHERE id < 400")
    for place in (None, tmp_path / "fresh"):  # the shop's own store holds the model of before
        store = open_store(recipe, place)
        ref = run_step(recipe, "fit", store=store, needs=run_step(recipe, "snapshot", store=store).ref).ref
        models.append(store.read(ref).path / "model")
    assert file_digest(models[0] / "model.json") == file_digest(models[1] / "model.json")
    one, other = (blocks_of(load(folder)) for folder in models)
    assert one.keys() == other.keys()
    for made_of, block in one.items():
        for each in dataclasses.fields(block):
            if each.name != "tree":
                assert np.array_equal(getattr(block, each.name), getattr(other[made_of], each.name))


@pytest.mark.parametrize("name", ["model.json", "arrays.npz"])
def test_a_model_that_was_changed_is_refused_before_it_is_parsed(shop, name):
    recipe = load_recipe(shop.recipe)
    store = open_store(recipe)
    ref = run_step(recipe, "fit", store=store, needs=run_step(recipe, "snapshot", store=store).ref).ref
    file = store.read(ref).path / "model" / name
    file.write_bytes(b"neither JSON nor an archive")  # parsing it would raise another error
    fresh = open_store(recipe)
    with pytest.raises(ArtifactTamperedError, match="changed after it was written"):
        run_step(recipe.model_copy(update={"seed": 9}), "sample", store=fresh, needs=ref)
    shop.sql("UPDATE orders SET state = 'lost' WHERE id < 400")
    with pytest.raises(ArtifactTamperedError):
        run_step(recipe, "fit", store=fresh, needs=run_step(recipe, "snapshot", store=fresh).ref)


def test_a_model_loads_and_is_sampled_without_a_learning_library(shop):
    program = f"""
import sys
from synth_ops.recipe import load_recipe
from synth_ops.run import latest, open_store, run_step
from synth_ops.artifacts import ArtifactKind
recipe = load_recipe({str(shop.recipe)!r}).model_copy(update={{"seed": 5}})
store = open_store(recipe)
model = store.artifacts(ArtifactKind.MODEL)[0]
assert not run_step(recipe, "sample", store=store, needs=model).skipped
print(sorted({{"sklearn", "torch", "sdv", "lightgbm"}} & set(sys.modules)))
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.splitlines()[-1] == "[]"
