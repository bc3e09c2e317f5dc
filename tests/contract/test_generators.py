from __future__ import annotations

import pytest

from synth_ops.generators.composition import Composed
from synth_ops.generators.marginal_tree import MarginalTree
from synth_ops.generators.relational_trees import RelationalTrees
from synth_ops.testing.contracts import GeneratorContract


class TestRelationalTrees(GeneratorContract):
    @pytest.fixture
    def generator(self):
        return RelationalTrees()


class TestMarginalTree(GeneratorContract):
    @pytest.fixture
    def generator(self):
        return MarginalTree()


class TestComposed(GeneratorContract):
    @pytest.fixture
    def generator(self):
        return Composed(frame="marginal_tree", everywhere={"marginal_tree": {"alpha": 4.0}}, fewest_rows=1)
