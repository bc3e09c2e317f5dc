"""Compiled loops are found again by processes that have a cache of their own."""

from __future__ import annotations

import os
import subprocess
import sys

CALL = """
import numpy as np
from synth_ops.generators.relational_trees import tree
found = tree.Tree(
    feature=np.array([0, -1, -1], np.int16), threshold=np.array([3, 0, 0], np.uint8),
    left=np.array([1, 0, 0], np.int32), parent=np.array([-1, 0, 0], np.int32),
).apply(np.array([[1, 9]], np.uint8))
assert found.tolist() == [1, 2]
print(sum(tree._apply.stats.cache_hits.values()), sum(tree._apply.stats.cache_misses.values()))
"""


def test_a_cache_that_is_new_begins_with_what_is_beside_the_package(tmp_path):
    def call(cache):
        command = [sys.executable, "-c", CALL]
        return subprocess.run(
            command, env=os.environ | cache, check=True, capture_output=True, text=True
        ).stdout.split()

    call({})  # compiles, where nobody did before
    for attempt in range(2):
        assert call({"NUMBA_CACHE_DIR": str(tmp_path / str(attempt))}) == ["1", "0"]
