"""The contract that every generator keeps, run on this one: `python -m pytest examples/custom_generator`."""

from __future__ import annotations

import pytest
from independent_columns import IndependentColumns

from synth_ops.testing.contracts import GeneratorContract
from synth_ops.testing.generator_cases import Capability


class TestIndependentColumns(GeneratorContract):
    """What it does not declare, it refuses."""

    capabilities = frozenset({Capability.NO_SEQUENCES, Capability.PUBLIC_VALUES, Capability.SAME_SEED})

    @pytest.fixture
    def generator(self) -> IndependentColumns:
        """With its own defaults."""
        return IndependentColumns()
