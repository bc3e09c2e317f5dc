"""SDV's networks and its other models keep the contract, too; what they learn is looked at where that takes seconds."""

from __future__ import annotations

import pytest

from synth_ops import pickles
from synth_ops.generators.composition import Composed
from synth_ops.generators.sdv import CTGAN, HMA, TVAE, CopulaGAN
from synth_ops.testing.contracts import GeneratorContract
from synth_ops.testing.generator_cases import CROWD, PEOPLE, Capability
from synth_ops.testing.generator_contract import Fitted
from synth_ops.worker import Isolated

ALONE = frozenset({Capability.NO_SEQUENCES, Capability.CHECKS, Capability.PUBLIC_VALUES, Capability.SAME_SEED})


@pytest.fixture(autouse=True)
def in_a_worker(monkeypatch):
    """Pickles may be loaded, as they may in a worker."""
    monkeypatch.setattr(pickles, "_allowed", [True])


class Network(GeneratorContract):
    """A network that hardly learns, but for the one test that looks at what it learned."""

    capabilities = ALONE
    made, epochs, persons = None, 100, staticmethod(PEOPLE)

    @pytest.fixture
    def generator(self):
        return self.made(epochs=1, max_memory_gb=0.1)  # which thousands of categories would exceed

    def test_what_it_learned_shows(self, tmp_path):
        super().test_what_it_learned_shows(Fitted.on(self.persons(), self.made(epochs=self.epochs), tmp_path))


class TestCTGAN(Network):
    made = CTGAN


class TestCopulaGAN(Network):
    made = CopulaGAN


class TestTVAE(Network):
    made, persons = TVAE, staticmethod(CROWD)
    closeness = 0.3  # it decides for the likeliest value, so that what depends on nothing comes in rough shares


class TestHMA(GeneratorContract):
    capabilities = (ALONE | {Capability.RELATIONS}) - {Capability.CHECKS}

    @pytest.fixture
    def generator(self):
        return HMA()


@pytest.fixture(scope="module")
def worker():
    """One for all tests, as SDV takes seconds to import."""
    kept = Isolated("sdv.par", {})
    kept._running()
    return kept


@pytest.mark.usefixtures("worker")
class TestPARInAFrame(GeneratorContract):
    capabilities = frozenset(Capability) - {Capability.NO_SEQUENCES}

    @pytest.fixture
    def generator(self):
        return Composed(everywhere={"sdv.par": {"epochs": 1}}, fewest_rows=1)

    def test_no_pickle(self, largest):
        """Those of the guests are vouched for, as with any other in the frame."""
        assert list((largest.folder / "frame").rglob("*.pkl")) == []
        assert list((largest.folder / "guests").rglob("*.pkl"))
