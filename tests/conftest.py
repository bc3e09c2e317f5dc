"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
