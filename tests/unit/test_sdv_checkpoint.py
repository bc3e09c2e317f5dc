"""Of all states of a network that were looked at the best one is kept, and looking changes nothing."""

from __future__ import annotations

import types

import numpy as np
import pandas as pd
import pytest

from synth_ops import pickles
from synth_ops.generators.sdv import CTGAN, TVAE, CopulaGAN
from synth_ops.generators.sdv.checkpoint import Best, Nearness, _chance_of_its_own
from synth_ops.learning_curve import learning_curves
from synth_ops.testing.generator_contract import Ticks, empty

torch = pytest.importorskip("torch", reason='needs `pip install -e ".[sdv]"`')


class Coin(torch.nn.Module):
    """A network that makes one column: heads in such a share."""

    def __init__(self):
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(0.0))

    def sample(self, rows):
        return pd.DataFrame({"side": np.where(torch.rand(rows).numpy() < self.share.item(), "heads", "tails")})


@pytest.fixture
def coin():
    return Coin()


@pytest.fixture
def best(coin):
    table = pd.DataFrame({"side": ["heads"] * 700 + ["tails"] * 300})
    model = types.SimpleNamespace(decoder=coin, sample=coin.sample)
    return Best(types.SimpleNamespace(_model=model), table)


def test_the_best_one_is_kept_not_the_last(coin, best):
    for epoch, share in enumerate([0.1, 0.69, 0.5, 1.0], start=1):
        coin.share.data.fill_(share)
        best.look(epoch, last=True)
    assert best.epoch == 2
    assert min(best.distances, key=best.distances.__getitem__) == 2
    best.restore()
    assert coin.share.item() == pytest.approx(0.69)


def test_looks_get_rarer(best):
    for epoch in range(1, 301):
        best.look(epoch)
    assert list(best.distances)[:4] == [1, 2, 3, 4]
    assert len(best.distances) < 40


def test_looking_changes_no_chance_and_no_state(coin, best):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    coin.train()
    best.look(1)
    assert coin.training
    assert torch.equal(torch.rand(3), expected)


def test_distances_are_of_columns_and_of_pairs():
    draw = np.random.default_rng(1)
    size = draw.normal(size=2_000)
    table = pd.DataFrame({"kind": np.where(size > 0, "large", "small"), "size": size})
    near = Nearness(table)
    assert near.distance(table) == 0
    fresh = draw.normal(size=2_000)
    alike = pd.DataFrame({"kind": np.where(fresh > 0, "large", "small"), "size": fresh})
    mixed = alike.assign(kind=alike["kind"].sample(frac=1, random_state=1).to_numpy())
    unknown = alike.assign(kind="other")
    assert near.distance(alike) < 0.1
    assert near.distance(alike) < near.distance(mixed) < near.distance(unknown)


@pytest.mark.parametrize("make", [CTGAN, CopulaGAN, TVAE])
def test_what_is_stored_is_the_best_state(make, tmp_path, monkeypatch, people):
    monkeypatch.setattr(pickles, "_allowed", [True])
    folder = empty(tmp_path / "model")
    make(epochs=12, batch_size=100).fit(people, folder, progress=Ticks())
    (curve,) = learning_curves(folder)
    distances = dict(curve.lines["distance"])
    assert (curve.table, curve.epochs, curve.planned) == ("orders", 12, 12)
    assert len(curve.lines["loss" if make is TVAE else "generator loss"]) == 12
    assert distances[curve.kept] == min(distances.values())
    made = pickles.load(folder / "model.pkl")
    network = made._model.decoder if make is TVAE else made._model._generator
    network.train()
    with _chance_of_its_own(), torch.no_grad():
        drawn = made._model.sample(500)
    assert distances[curve.kept] == pytest.approx(Nearness(seen(people, made)).distance(drawn), abs=0.02)


@pytest.fixture
def people(tmp_path):
    from synth_ops.artifacts import ArtifactKind, ArtifactRef, Snapshot
    from synth_ops.metadata import Column, Kind, Metadata, Table
    from synth_ops.testing.warehouses import write_table

    columns = (
        Column(name="kind", type="VARCHAR", kind=Kind.CATEGORICAL),
        Column(name="price", type="DOUBLE", kind=Kind.NUMERICAL),
    )
    table = Table(name="orders", path=("orders",), columns=columns, rows=400)
    draw = np.random.default_rng(3)
    kinds = draw.choice(["new", "old", "gift"], 400, p=[0.6, 0.3, 0.1])
    rows = [(str(kind), float(draw.gamma(3, 20))) for kind in kinds]
    return Snapshot(
        ref=ArtifactRef(kind=ArtifactKind.SNAPSHOT, id="case"),
        metadata=Metadata(tables=(table,)),
        tables={"orders": write_table(tmp_path / "snapshot", table, rows)},
    )


def seen(snapshot, made):
    """What the network learned from."""
    from synth_ops.generators.coded_table.table import learn_tables

    _, frame = learn_tables(snapshot)["orders"]
    processed = made._data_processor.transform(frame.frame())
    normal = getattr(made, "_gaussian_normalizer_hyper_transformer", None)
    return normal.transform(processed) if normal else processed
