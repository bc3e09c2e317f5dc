"""A copy in many small shards is a copy like any other: every key holds, every row is there, none twice."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synth_ops.artifacts import ArtifactKind, ArtifactRef, Snapshot
from synth_ops.fingerprint import file_digest
from synth_ops.generators.relational_trees import RelationalTrees, shards
from synth_ops.testing.contracts import unheard
from synth_ops.testing.generator_cases import SCHEMAS, SHOP, Case, broken_constraints
from synth_ops.testing.warehouses import rows_by_name


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    """Shards may be as small as they like."""
    monkeypatch.setattr(shards, "_FEWEST_PARENTS", 1)
    monkeypatch.setattr(shards, "_STEPS_PER_SHARD", 1)


@pytest.fixture(scope="session")
def random_schema():
    file = Path(__file__).resolve().parents[1] / "random_schema.py"
    spec = importlib.util.spec_from_file_location("random_schema_for_shards", file)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.random_schema


def fitted(metadata, tables, folder, cells=None):
    """Fit; a shard is to hold about a fourth of the data, where nothing else is said."""
    folder.mkdir(parents=True)
    size = sum(tables[table.name].rows * (len(table.columns) + len(table.foreign_keys)) for table in metadata.tables)
    cells = cells or max(size // 4, 1)
    snapshot = Snapshot(ref=ArtifactRef(kind=ArtifactKind.SNAPSHOT, id="x"), metadata=metadata, tables=tables)
    generator = RelationalTrees(shard_cells=cells)
    generator.fit(snapshot, folder, progress=unheard)
    return generator.load(folder, metadata)


def fit_case(case: Case, folder: Path, cells: int | None = None):
    return fitted(case.metadata, case.snapshot(folder / "snapshot").tables, folder / "model", cells)


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_constraint_of_a_random_schema_holds_in_shards(random_schema, tmp_path_factory, seed):
    folder = tmp_path_factory.mktemp("random")
    schema = random_schema(seed)
    tables = schema.write(folder / "source")
    model = fitted(schema.metadata, tables, folder / "model")
    copy = model.sample(folder / "copy", seed=seed % 1000, scale=1.0, progress=unheard)
    assert broken_constraints(schema.metadata, copy) == {}
    for name, data in tables.items():
        assert copy[name].rows == pytest.approx(data.rows, rel=0.05, abs=2 + model.shards(1.0) // 2), name


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_in_shards(tmp_path, name):
    case = SCHEMAS[name]()
    model = fit_case(case, tmp_path)
    for scale in (1.0, 3.0):
        copy = model.sample(tmp_path / f"copy {scale}", seed=1, scale=scale, progress=unheard)
        assert broken_constraints(case.metadata, copy) == {}


def test_large_tables_are_cut_and_lookups_are_not(tmp_path):
    case = SHOP()
    model = fit_case(case, tmp_path)
    count = model.shards(3.0)
    assert count > 8
    copy = model.sample(tmp_path / "copy", seed=1, scale=3.0, progress=unheard)
    assert {name: len(data.files) for name, data in copy.items()} == {
        name: 1 if name == "tags" else count for name in case.rows
    }
    assert broken_constraints(case.metadata, copy) == {}
    for name, data in copy.items():
        wanted = len(case.rows[name]) * (1 if name == "tags" else 3)
        assert data.rows == pytest.approx(wanted, rel=0.02, abs=2), name
    emails = [row[2] for row in rows_by_name(case.metadata, copy)["customers"]]
    assert len(set(emails)) == len(emails) == 3 * len(case.rows["customers"])


def test_shards_in_any_order_are_the_same_bytes(tmp_path):
    case = SHOP()
    whole = fit_case(case, tmp_path, cells=600).sample(tmp_path / "whole", seed=5, scale=1.0, progress=unheard)
    apart = RelationalTrees(shard_cells=600).load(tmp_path / "model", case.metadata)
    parts = [
        apart.sample_shard(tmp_path / "apart", shard, seed=5, scale=1.0, progress=unheard)
        for shard in reversed(range(apart.shards(1.0)))
    ]
    assert len(parts) > 2
    expected = sorted((file.name, file_digest(file)) for data in whole.values() for file in data.files)
    assert (
        sorted((file.name, file_digest(file)) for part in parts for d in part.values() for file in d.files) == expected
    )


def test_a_small_copy_is_one_shard(tmp_path):
    case = SHOP()
    assert fit_case(case, tmp_path, cells=8_000_000).shards(1.0) == 1
