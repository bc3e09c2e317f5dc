"""SDV's models keep the contract: alone, and inside the frame, where they can do all that the frame can."""

from __future__ import annotations

import pytest

from synth_ops import pickles
from synth_ops.fingerprint import file_digest
from synth_ops.generators.composition import Composed
from synth_ops.generators.sdv import GaussianCopula
from synth_ops.testing.contracts import GeneratorContract
from synth_ops.testing.generator_cases import Capability
from synth_ops.testing.generator_contract import files_below
from synth_ops.worker import Isolated

ONE_TABLE = frozenset({
    Capability.NO_SEQUENCES, Capability.CHECKS, Capability.PUBLIC_VALUES, Capability.SAME_SEED,
})  # fmt: skip


@pytest.fixture(autouse=True)
def in_a_worker(monkeypatch):
    """Pickles may be loaded, as they may in a worker."""
    monkeypatch.setattr(pickles, "_allowed", [True])


class TestGaussianCopula(GeneratorContract):
    capabilities = ONE_TABLE

    @pytest.fixture
    def generator(self):
        return GaussianCopula()


@pytest.fixture(scope="module")
def worker():
    """One for all tests, as SDV takes seconds to import."""
    kept = Isolated("sdv.gaussian_copula", {})
    kept._running()
    return kept


@pytest.mark.usefixtures("worker")
class TestCopulaInAFrame(GeneratorContract):
    @pytest.fixture
    def generator(self):
        return Composed(everywhere={"sdv.gaussian_copula": {}}, fewest_rows=1)

    def test_no_pickle(self, largest):
        """The frame has none; those of guests are loaded in workers alone, and only these very ones."""
        frame, guests = (list(files_below(largest.folder / name)) for name in ("frame", "guests"))
        assert frame
        assert [file for file in frame if file.suffix == ".pkl"] == []
        models = [file for file in guests if file.suffix == ".pkl"]
        assert models
        assert {file_digest(file) for file in models} <= set(pickles.vouched())
