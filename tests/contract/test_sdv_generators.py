"""SDV's models keep the contract; run here in this process, as SDV takes seconds to import."""

from __future__ import annotations

import pytest

from synth_ops import pickles
from synth_ops.generators.sdv import GaussianCopula
from synth_ops.testing.contracts import GeneratorContract
from synth_ops.testing.generator_cases import Capability


@pytest.fixture(autouse=True)
def in_a_worker(monkeypatch):
    """Pickles may be loaded, as they may in a worker."""
    monkeypatch.setattr(pickles, "_allowed", [True])


class TestGaussianCopula(GeneratorContract):
    capabilities = frozenset({Capability.CHECKS, Capability.PUBLIC_VALUES, Capability.SAME_SEED})

    @pytest.fixture
    def generator(self):
        return GaussianCopula()
