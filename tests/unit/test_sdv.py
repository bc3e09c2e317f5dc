"""SDV's models: what they are told, what they keep, when they stop, and what they refuse."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from decimal import Decimal

import joblib
import numpy as np
import pyarrow as pa
import pytest

from synth_ops import pickles
from synth_ops.artifacts import ArtifactKind, ArtifactRef, Snapshot
from synth_ops.errors import FitError, MissingExtraError, RecipeError, UnknownPluginError
from synth_ops.generators.coded_table import columns
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.generators.sdv import CTGAN, HMA, PAR, TVAE, CopulaGAN, GaussianCopula, training
from synth_ops.metadata import Column, ForeignKey, Kind, Metadata, Relation, Rule, Table
from synth_ops.recipe import Recipe
from synth_ops.run import licences, table_makers
from synth_ops.sql import connect, register
from synth_ops.testing.generator_cases import SHOP, Case, broken_constraints
from synth_ops.testing.generator_contract import Fitted, Ticks, digests, empty
from synth_ops.testing.warehouses import write_table
from synth_ops.worker import open_generator
from synth_ops.worker.traits import make

ROWS = 400
NAMED = {"generator": {"sdv.ctgan": {"epochs": 2}}}


@pytest.fixture(autouse=True)
def in_a_worker(monkeypatch):
    """Pickles may be loaded, as they may in a worker."""
    monkeypatch.setattr(pickles, "_allowed", [True])


def orders(rows=ROWS):
    """A table with a bit of everything that a model of one table can learn."""
    draw = np.random.default_rng(1)
    shipped = draw.integers(0, 300, rows)
    kind = draw.choice(["new", "old", "gift"], rows, p=[0.6, 0.3, 0.1])
    price = np.round(draw.gamma(3, 20, rows), 2)
    return [
        (
            n,
            f"person {n}",
            str(kind[n]),
            None if n % 10 == 3 else Decimal(f"{price[n]:.2f}"),
            int(shipped[n]),
            int(shipped[n] + draw.integers(0, 9)),
            int(2 * shipped[n]),
            0.0 if n % 2 else float(price[n] * (3 if kind[n] == "old" else 1)),
        )
        for n in range(rows)
    ]


ORDERS = Table(
    name="orders",
    path=("orders",),
    columns=(
        Column(name="id", type="INTEGER", kind=Kind.ID, nullable=False),
        Column(name="buyer", type="VARCHAR", kind=Kind.PII, provider="name"),
        Column(name="kind", type="VARCHAR", kind=Kind.CATEGORICAL),
        Column(name="price", type="DECIMAL(10,2)", kind=Kind.NUMERICAL),
        Column(name="shipped", type="SMALLINT", kind=Kind.NUMERICAL),
        Column(name="arrived", type="INTEGER", kind=Kind.NUMERICAL),
        Column(name="doubled", type="BIGINT", kind=Kind.NUMERICAL),
        Column(name="discount", type="DOUBLE", kind=Kind.NUMERICAL),
    ),
    primary_key=("id",),
    rules=(
        Rule(relation=Relation.EQUALS, column="doubled", expression='2 * "shipped"', inputs=("shipped",), strict=True),
        Rule(relation=Relation.AT_LEAST, column="arrived", expression='"shipped"', inputs=("shipped",)),
    ),
)


def snapshot_of(folder, table, rows):
    described = dataclasses.replace(table, rows=len(rows))
    return Snapshot(
        ref=ArtifactRef(kind=ArtifactKind.SNAPSHOT, id="case"),
        metadata=Metadata(tables=(described,)),
        tables={table.name: write_table(folder, described, rows)},
    )


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return snapshot_of(tmp_path_factory.mktemp("snapshot"), ORDERS, orders())


def copy_of(generator, snapshot, folder, *, seed=1, scale=1.0, ticks=None):
    generator.fit(snapshot, empty(folder / "model"), progress=Ticks() if ticks is None else ticks)
    fitted = generator.load(folder / "model", snapshot.metadata)
    return fitted.sample(empty(folder / "copy"), seed=seed, scale=scale, progress=Ticks())


def asked(copy, question):
    with connect() as connection:
        register(connection, copy, "copy")
        return connection.execute(question).fetchone()


def test_rules_hold_and_what_a_distribution_misses_is_learned(snapshot, tmp_path):
    copy = copy_of(GaussianCopula(), snapshot, tmp_path, scale=5.0)
    broken = "count(*) FILTER (WHERE arrived < shipped OR doubled <> 2 * shipped)"
    shares = "avg((price IS NULL)::INT), avg((discount = 0)::INT), avg((kind = 'gift')::INT), count(*)"
    found = asked(copy, f"SELECT {broken}, {shares} FROM copy.orders")
    assert found[0] == 0
    assert found[1:4] == pytest.approx((0.1, 0.5, 0.1), abs=0.04)
    assert found[4] == 5 * ROWS
    assert asked(copy, "SELECT corr(shipped, arrived) FROM copy.orders")[0] > 0.9


@pytest.mark.parametrize("make", [CTGAN, TVAE, CopulaGAN])
def test_networks_learn_tell_and_repeat_themselves(snapshot, tmp_path, make):
    ticks = Ticks()
    made = [
        copy_of(make(epochs=1, batch_size=100), snapshot, empty(tmp_path / name), ticks=ticks) for name in ("a", "b")
    ]
    assert digests(made[0]) == digests(made[1])
    assert made[0]["orders"].rows == ROWS
    told = [tick.item for tick in ticks if "epoch" in tick.item]
    assert len(told) == 2
    assert re.fullmatch(r"orders: epoch 1 of 1, .*loss -?\d.*", told[0])


def test_sequences_are_drawn_alike_from_models_that_were_fitted_alike(tmp_path):
    columns = (
        Column(name="sequence", type="BIGINT", kind=Kind.ID, nullable=False, provider="integer"),
        Column(name="kind", type="VARCHAR", kind=Kind.CATEGORICAL),
        Column(name="size", type="INTEGER", kind=Kind.NUMERICAL),
    )
    table = Table(name="readings", path=("readings",), columns=columns)
    draw = np.random.default_rng(4)
    rows = [(n // 5, "ab"[n % 2], int(draw.integers(0, 50))) for n in range(200)]
    case = snapshot_of(tmp_path / "case", table, rows)
    copies = [copy_of(PAR(epochs=2), case, empty(tmp_path / name)) for name in ("a", "b")]
    assert digests(copies[0]) == digests(copies[1])
    assert copies[0]["readings"].rows == 200
    assert asked(copies[0], "SELECT count(DISTINCT kind), count(*) FILTER (size IS NULL) FROM copy.readings") == (2, 0)
    with pytest.raises(FitError, match="has no sequences"):
        PAR().fit(snapshot_of(tmp_path / "other", ORDERS, orders(20)), empty(tmp_path / "c"), progress=Ticks())


@pytest.mark.parametrize("network", [CTGAN, CopulaGAN, TVAE])
def test_training_ends_in_time(snapshot, tmp_path, network):
    ticks = Ticks()
    made = make(network, "it", {"epochs": 100_000, "batch_size": 100}, {"max_minutes": 0.05, "max_memory_gb": 4})
    made.fit(snapshot, empty(tmp_path / "model"), progress=ticks)
    done = [int(re.search(r"epoch (\d+)", tick.item)[1]) for tick in ticks if "epoch" in tick.item]
    assert 1 <= done[-1] < 10_000
    assert (tmp_path / "model" / "model.pkl").is_file()


@pytest.mark.parametrize("cuda", [True, False])
def test_a_gpu_is_used_if_there_is_one_and_nobody_says_no(snapshot, tmp_path, cuda):
    TVAE(epochs=1, cuda=cuda).fit(snapshot, empty(tmp_path / "model"), progress=Ticks())
    made = pickles.load(tmp_path / "model" / "model.pkl")
    assert made.get_parameters()["enable_gpu"] is cuda
    assert made._model._device.type == "cpu"  # where it is drawn from, with a GPU or without


def test_what_packages_do_at_once_is_done_in_this_process():
    with training.frugally():
        assert set(joblib.Parallel(n_jobs=-1)(joblib.delayed(os.getpid)() for _ in range(4))) == {os.getpid()}


def test_a_loss_that_is_no_number_ends_training(snapshot, tmp_path):
    with pytest.raises(FitError, match=r"diverged: the \w+ is no number any more in epoch \d+ \(lower"):
        CTGAN(epochs=50, batch_size=100, generator_lr=1e30).fit(snapshot, empty(tmp_path / "model"), progress=Ticks())


def test_a_network_forgets_which_rows_had_what(snapshot, tmp_path):
    CTGAN(epochs=1, batch_size=100).fit(snapshot, empty(tmp_path / "model"), progress=Ticks())
    model = pickles.load(tmp_path / "model" / "model.pkl")._model
    assert model._data_sampler._rid_by_cat_cols == []
    large = [
        (name, value.shape)
        for part in (model, model._data_sampler, model._transformer)
        for name, value in vars(part).items()
        if getattr(value, "shape", None) and ROWS in value.shape
    ]
    assert large == []


def test_too_many_categories_are_refused_with_what_they_would_take(tmp_path):
    rows = [(f"c{n % 5_000}",) for n in range(40_000)]
    wide = Table(name="wide", path=("wide",), columns=(Column(name="word", type="VARCHAR"),))
    case = snapshot_of(tmp_path / "case", wide, rows)
    with pytest.raises(FitError, match=r"about 3\.0 GiB .* 5000 of them for 'word'"):
        CTGAN(max_memory_gb=2.0).fit(case, empty(tmp_path / "model"), progress=Ticks())


@pytest.mark.parametrize("rows", [1, 3, 12])
@pytest.mark.parametrize("make", [GaussianCopula, lambda: CTGAN(epochs=1)])
def test_hardly_any_rows(tmp_path, make, rows):
    case = snapshot_of(tmp_path / "case", ORDERS, orders(rows))
    assert copy_of(make(), case, tmp_path)["orders"].rows == rows


def test_several_tables_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(FitError, match="learns one table"):
        Fitted.on(SHOP(), GaussianCopula(), tmp_path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CTGAN(epochs=0), "epochs is not a whole number of at least 1"),
        (lambda: TVAE(epochs="many"), "epochs is not a whole number"),
        (lambda: CTGAN(batch_size=7), "batch_size of 7 is odd"),
        (lambda: TVAE(batch_size=0), "batch_size is not a whole number of at least 2"),
        (lambda: PAR(sequences=0), "sequences is not a whole number of at least 1"),
        (lambda: CTGAN(generator_dim=[]), "list of layer widths"),
        (lambda: CTGAN(generator_lr=-1), "generator_lr is not a number above 0"),
        (lambda: GaussianCopula(default_distribution="norn"), "did you mean 'norm'"),
        (lambda: GaussianCopula(default_distribution="gaussian_kde"), "keeps the rows themselves"),
        (lambda: open_generator("sdv.ctgan", {"epoch": 3}), "does not take these settings: epoch"),
        (lambda: open_generator("sdv.copulagan", {"epoch": 3}), "it takes: default_distribution, epochs, max_minutes"),
        (lambda: CopulaGAN(default_distribution="x"), "has no distribution 'x'"),
    ],
)
def test_settings_that_can_not_be(make, message):
    with pytest.raises(RecipeError, match=message):
        make()


def test_a_model_that_does_not_exist():
    with pytest.raises(UnknownPluginError, match=r"no generator 'sdv\.ctagn'; did you mean 'sdv\.ctgan'"):
        open_generator("sdv.ctagn", {})


def test_without_the_package_it_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("synth_ops.generators.sdv")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "synth-ops\[sdv\]"'):
        open_generator("sdv.ctgan", {})


def test_choosing_one_loads_no_torch_here():
    program = "from synth_ops.worker import open_generator; import sys; g = open_generator('sdv.tvae', {'epochs': 3})"
    tell = "print(g.single_table, 'Business Source' in g.licence, {'sdv', 'torch', 'pandas'} & set(sys.modules))"
    finished = subprocess.run([sys.executable, "-c", f"{program}; {tell}"], capture_output=True, text=True, check=True)
    assert finished.stdout.split("\n")[0] == "True True set()"


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.int64(), [1, 5, 9, None] * 40),
        (pa.float64(), [float("nan"), 0.5, float("inf"), None, 2.25] * 40),
        (pa.decimal128(12, 2), [Decimal("1.05"), Decimal("-3.10"), Decimal(0)] * 40),
        (pa.timestamp("us", tz="UTC"), [0, 86_400_000_000, None] * 40),
        (pa.date32(), [0, 20_000, 10] * 40),
        (pa.bool_(), [True, None, False] * 40),
    ],
)
def test_columns_come_back_as_they_were(kind, values):
    """What many rows share is unchanged by coding and decoding alone."""
    import pandas as pd

    given = pa.chunked_array([pa.array(values, kind)])
    codec = columns.fit_codec(given, Kind.NUMERICAL, (), 5)
    coded, codes = columns.encode(codec, given)
    seen = columns.Seen()
    columns.show(3, coded, codes, given, seen, stream(0, "x"))
    frame = pd.DataFrame({**seen.labels, **seen.numbers})
    assert not frame.isna().any(axis=None)
    back = columns.unseen(3, columns.Coded.from_json(coded.to_json()), frame, len(values), kind, stream(0, "y"))
    assert back.type == kind
    assert str(back.to_pylist()) == str(given.to_pylist())


def test_even_ranks_are_all_that_a_model_has_to_make():
    """Whatever a column is like: it leans, it heaps up at a twentieth of its rows, it has gaps."""
    import pandas as pd

    draw = np.random.default_rng(3)
    real = np.where(draw.random(4000) < 0.05, 99.0, np.round(draw.lognormal(3, 1.5, 4000), 2))
    given = pa.chunked_array([pa.array(real)])
    coded, codes = columns.encode(columns.fit_codec(given, Kind.NUMERICAL, (), 5), given)
    seen = columns.Seen()
    columns.show(0, coded, codes, given, seen, stream(0, "x"))
    (ranks,) = seen.numbers.values()
    assert np.abs(np.sort(ranks) - (np.arange(4000) + 0.5) / 4000).max() < 0.03
    frame = pd.DataFrame({columns.number(0): draw.random(4000)})
    made = columns.unseen(0, coded, frame, 4000, pa.float64(), stream(0, "y")).to_numpy()
    assert (made == 99).mean() == pytest.approx(0.05, abs=0.015)
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert np.quantile(made, share) == pytest.approx(np.quantile(real, share), rel=0.2)


def test_loops_of_the_packages_are_there_to_be_watched():
    import importlib

    for name in training._LOOPS:
        assert callable(importlib.import_module(name).tqdm)


def parents_and_children():
    """Two tables: each parent's children have numbers near its own."""
    draw = np.random.default_rng(2)
    key = ForeignKey(columns=("owner",), parent="parents", parent_columns=("id",))
    number = Column(name="size", type="INTEGER", kind=Kind.NUMERICAL)
    parents = Table(
        name="parents",
        path=("parents",),
        columns=(Column(name="id", type="VARCHAR", kind=Kind.ID, nullable=False), number),
        primary_key=("id",),
        rows=60,
    )
    children = Table(
        name="children",
        path=("children",),
        columns=(
            Column(name="id", type="BIGINT", kind=Kind.ID, nullable=False),
            Column(name="owner", type="VARCHAR", kind=Kind.ID, nullable=False),
            number,
        ),
        primary_key=("id",),
        foreign_keys=(key,),
        rows=180,
    )
    sizes = draw.integers(0, 1000, 60)
    rows = {
        "parents": [(f"P-{n:04}", int(size)) for n, size in enumerate(sizes)],
        "children": [(n, f"P-{n % 60:04}", int(sizes[n % 60] + draw.integers(0, 50))) for n in range(180)],
    }
    return Case(needs=frozenset(), metadata=Metadata(tables=(parents, children)), rows=rows)


def test_hma_keeps_keys_and_what_children_have_of_their_parents(tmp_path):
    case = parents_and_children()
    fitted = Fitted.on(case, HMA(), tmp_path)
    copy = fitted.sample(seed=5)
    assert broken_constraints(case.metadata, copy) == {}
    assert digests(fitted.sample(seed=5)) == digests(copy)
    assert digests(fitted.sample(seed=6)) != digests(copy)
    assert copy["parents"].rows == pytest.approx(60, abs=3)
    question = "SELECT corr(c.size, p.size) FROM copy.children c JOIN copy.parents p ON c.owner = p.id"
    assert asked(copy, question)[0] > 0.5


def test_hma_says_beforehand_what_it_does_not_take(tmp_path):
    problems = HMA().problems(SHOP().snapshot(tmp_path / "shop"))
    assert any("at most 5 tables, and there are 7" in problem for problem in problems)
    assert any("in a circle" in problem for problem in problems)
    assert HMA().problems(parents_and_children().snapshot(tmp_path / "two")) == []


def test_a_plan_names_the_licence_and_refuses_what_can_not_be(tmp_path):
    case = SHOP()
    recipe = Recipe(source="shop.duckdb", target="test.duckdb", generator="sdv.hma", tables={"orders": NAMED})
    assert [line.partition(" is under ")[0] for line in licences(recipe)] == ["sdv.hma", "sdv.ctgan"]
    assert all("Business Source License 1.1" in line for line in licences(recipe))
    with pytest.raises(RecipeError, match=r"at most 5 tables.*name another `generator`"):
        table_makers(recipe.with_changes(tables={}), case.snapshot(tmp_path))


def test_in_its_own_process(snapshot, tmp_path):
    """The same copy as here, from a worker that is told to use little."""
    settings = {"epochs": 1, "batch_size": 100, "cuda": False}
    here = copy_of(CTGAN(**settings), snapshot, empty(tmp_path / "here"))
    ticks = Ticks()
    limits = {"max_minutes": 5, "max_memory_gb": 4}
    there = copy_of(
        open_generator("sdv.ctgan", {**settings, **limits}), snapshot, empty(tmp_path / "there"), ticks=ticks
    )
    assert digests(here) == digests(there)
    assert any("epoch 1 of 1" in tick.item for tick in ticks)
