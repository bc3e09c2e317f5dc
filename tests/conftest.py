"""What every test may use."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

pytest.register_assert_rewrite("synth_ops.testing.contracts", "synth_ops.testing.generator_contract")

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SYNTH_OPS_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, one folder each with `dataset.json` and Parquet files."""
    if not DATA.is_dir():
        pytest.skip(f"needs the real data sets: set SYNTH_OPS_TEST_DATA to their folder (looked in {DATA})")
    return DATA


@pytest.fixture(scope="session")
def datasets() -> ModuleType:
    """The module `tests/datasets.py`."""
    spec = importlib.util.spec_from_file_location("synth_ops_test_datasets", REPOSITORY / "tests" / "datasets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def duckdb_database(real_data, datasets, tmp_path_factory) -> Callable[[str], Path]:
    """Make, once, a DuckDB file of a real data set with its keys. To be read only: copy it before changing it."""
    folder = tmp_path_factory.mktemp("duckdb")
    return functools.cache(lambda name: datasets.load_duckdb(real_data / name, folder / f"{name}.duckdb"))


@pytest.fixture(scope="session")
def sqlite_database(real_data, datasets, tmp_path_factory) -> Callable[[str], Path]:
    """Make, once, a SQLite file of a real data set with its keys. To be read only: copy it before changing it."""
    folder = tmp_path_factory.mktemp("sqlite")
    return functools.cache(lambda name: datasets.load_sqlite(real_data / name, folder / f"{name}.db"))
