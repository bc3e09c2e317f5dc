"""The built-in generator: sequential decision trees with leaf histograms, over whole databases.

Every column is drawn from the leaf of a tree that saw its parents' columns and its own row so far. Real values are kept
only in codecs, and only where at least k subjects share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from synth_ops.artifacts import Snapshot, TableData
from synth_ops.metadata import Metadata
from synth_ops.ports import ProgressListener


class RelationalTrees:
    """Learns any relational schema on a CPU.

    Args:
        min_leaf: The fewest rows in a leaf: more is more private, fewer nearer to the source.
        alpha: Weight of a leaf's ancestors, in rows.
    """

    version = "1"

    def __init__(self, *, min_leaf: int = 50, alpha: float = 50.0) -> None:
        self._min_leaf, self._alpha = min_leaf, alpha

    def fit(self, snapshot: Snapshot, folder: Path, *, progress: ProgressListener) -> None:
        """Learn from a snapshot and write arrays and JSON into `folder`."""
        from synth_ops.generators.relational_trees.block import BlockSettings
        from synth_ops.generators.relational_trees.learning.snapshot import learn
        from synth_ops.generators.relational_trees.model import save

        settings = BlockSettings(min_leaf=self._min_leaf, alpha=self._alpha)
        save(learn(snapshot, settings, progress), folder)

    def load(self, folder: Path, metadata: Metadata) -> FittedTrees:
        """Load what `fit` wrote."""
        return FittedTrees(folder, metadata)


class FittedTrees:
    """A fitted model of a whole database."""

    def __init__(self, folder: Path, metadata: Metadata) -> None:
        self._folder, self._metadata = folder, metadata

    def sample(self, folder: Path, *, seed: int, scale: float, progress: ProgressListener) -> Mapping[str, TableData]:
        """Write a synthetic copy of every table below `folder`; the same seed gives the same bytes."""
        from synth_ops.generators.relational_trees.model import load
        from synth_ops.generators.relational_trees.sampling import sample_tables

        models = load(self._folder)
        return sample_tables(models, self._metadata, folder, seed=seed, scale=scale, progress=progress)
