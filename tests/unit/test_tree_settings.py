"""One setting says where a model stands between the source and privacy; what is behind it can be set by itself."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synth_ops.artifacts import ArtifactKind, ArtifactRef, Snapshot, TableData
from synth_ops.errors import RecipeError
from synth_ops.generators.relational_trees import RelationalTrees
from synth_ops.generators.relational_trees.model import load
from synth_ops.metadata import Column, Kind, Metadata, Table

ROWS = 4_000


@pytest.fixture
def snapshot(tmp_path):
    random = np.random.default_rng(0)
    level = random.normal(size=ROWS)
    near = level + random.normal(size=ROWS) / 3
    path = tmp_path / "reading.parquet"
    pq.write_table(pa.table({"level": level.round(2), "near": near.round(2)}), path)
    columns = tuple(Column(name=name, type="DOUBLE", kind=Kind.NUMERICAL) for name in ("level", "near"))
    metadata = Metadata(tables=(Table(name="reading", path=("reading",), columns=columns, rows=ROWS),))
    data = {"reading": TableData(files=(path,), rows=ROWS)}
    return Snapshot(ref=ArtifactRef(kind=ArtifactKind.SNAPSHOT, id="settings"), metadata=metadata, tables=data)


def leaves(snapshot, folder, **settings):
    folder.mkdir()
    RelationalTrees(**settings).fit(snapshot, folder, progress=lambda _: None)
    return sum(int((target.block.tree.feature < 0).sum()) for target in load(folder)["reading"].targets)


def test_strict_models_have_fewer_and_larger_leaves(snapshot, tmp_path):
    standard, strict = (leaves(snapshot, tmp_path / each, privacy=each) for each in ("standard", "strict"))
    assert strict < standard
    assert leaves(snapshot, tmp_path / "default") == standard
    assert leaves(snapshot, tmp_path / "large", privacy="strict", min_leaf=1_000) < strict


def test_another_privacy_is_refused_with_what_there_is():
    with pytest.raises(RecipeError, match="standard or strict"):
        RelationalTrees(privacy="total")
