"""The autoregressive network, in an environment of its own: what it needs can't be installed beside Airflow."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest

from synth_ops.artifacts import ArtifactKind, ArtifactRef, Snapshot
from synth_ops.errors import ArtifactTamperedError, MissingExtraError
from synth_ops.metadata import Column, Kind, Metadata, Table
from synth_ops.testing.generator_contract import Ticks, digests, empty
from synth_ops.testing.warehouses import rows_by_name, write_table
from synth_ops.worker import open_generator

PACKAGES = (
    "mostlyai-engine>=2.7", "psutil>=5.9.5,<6", "accelerate", "datasets", "dill", "huggingface-hub", "json-repair",
    "multiprocess", "opacus", "opt-einsum", "peft", "regex", "safetensors", "tokenizers", "transformers>=5.5.3",
    "xgrammar", "xxhash",
)  # fmt: skip
"""The engine and what it imports; the rest, torch among it, is looked up in the environment that runs the tests."""
TABLE = Table(
    name="orders",
    path=("orders",),
    columns=(
        Column(name="id", type="INTEGER", kind=Kind.ID, nullable=False),
        Column(name="kind", type="VARCHAR", kind=Kind.CATEGORICAL),
        Column(name="price", type="DOUBLE", kind=Kind.NUMERICAL),
    ),
    primary_key=("id",),
    rows=300,
)


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    """The Python of an environment that has the engine, and another psutil than this one."""
    if given := os.environ.get("SYNTH_OPS_ARGN_PYTHON"):
        return given
    place = tmp_path_factory.mktemp("argn")
    venv.create(place, symlinks=True)
    python = place / "bin" / "python"
    here, there = (sysconfig.get_path("purelib", vars=base) for base in ({}, {"base": str(place)}))
    Path(there, "tests.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", *PACKAGES]
    installed = subprocess.run(pip, capture_output=True, text=True, check=False)
    if installed.returncode:
        message = "can't install mostlyai-engine: set SYNTH_OPS_ARGN_PYTHON to the Python of an environment that has it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{message}\n{installed.stderr[-500:]}")
    return str(python)


@pytest.mark.long
def test_it_learns_tells_repeats_itself_and_loads_nothing_foreign(interpreter, tmp_path):
    draw = np.random.default_rng(1)
    rows = [(n, "abc"[n % 3], float(n % 3 * 100 + draw.integers(0, 50))) for n in range(300)]
    snapshot = Snapshot(
        ref=ArtifactRef(kind=ArtifactKind.SNAPSHOT, id="case"),
        metadata=Metadata(tables=(TABLE,)),
        tables={"orders": write_table(tmp_path / "snapshot", TABLE, rows)},
    )
    generator = open_generator("argn", {"interpreter": interpreter, "epochs": 10, "max_minutes": 10})
    assert generator.single_table
    ticks, folder = Ticks(), empty(tmp_path / "model")
    generator.fit(snapshot, folder, progress=ticks)
    assert any(re.search(r"epoch \d.*loss \d", tick.item) for tick in ticks)
    assert list(folder.rglob("*.parquet")) == []
    fitted = generator.load(folder, snapshot.metadata)
    one, other = (fitted.sample(empty(tmp_path / name), seed=4, scale=2.0, progress=Ticks()) for name in "ab")
    assert digests(one) == digests(other)
    made = rows_by_name(snapshot.metadata, one)["orders"]
    assert len({row[0] for row in made}) == len(made) == 600
    assert {row[1] for row in made} == {"a", "b", "c"}
    (weights,) = folder.rglob("model-weights.pt")
    weights.write_bytes(weights.read_bytes() + b"x")
    with pytest.raises(ArtifactTamperedError, match=r"model-weights\.pt"):
        fitted.sample(empty(tmp_path / "c"), seed=4, scale=1.0, progress=Ticks())


def test_without_the_package_it_says_what_to_install():
    with pytest.raises(MissingExtraError, match=r'pip install "synth-ops\[argn\]"'):
        open_generator("argn", {})
