"""The instant generator: each column depends on one other, so that a first look or a load test takes seconds.

Keys, references, codecs and providers are those of `relational_trees`; only the blocks differ. The tree of dependencies
is that of the most mutual information (Chow and Liu, 1968).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from synth_ops.artifacts import Snapshot
from synth_ops.generators.relational_trees import FittedTrees
from synth_ops.metadata import Metadata
from synth_ops.ports import ProgressListener


class MarginalTree:
    """Learns single columns and their strongest pairs, over whole databases.

    Args:
        alpha: How many rows a column's own distribution counts for beside that under one value of another column.
        shard_cells: How large a shard may be, in rows by columns: what is drawn at a time, in about 40 bytes a cell.
    """

    version = "8"
    frame: ClassVar[bool] = True
    """Whether single columns of its tables may be made by other generators."""

    def __init__(self, *, alpha: float = 5.0, shard_cells: int = 8_000_000) -> None:
        self._alpha, self._shard_cells = alpha, shard_cells

    def fit(self, snapshot: Snapshot, folder: Path, *, progress: ProgressListener) -> None:
        """Learn from a snapshot and write arrays and JSON into `folder`, anew each time: it takes seconds."""
        from synth_ops.generators.marginal_tree.chow_liu import ChowLiuBlocks
        from synth_ops.generators.relational_trees.learning.snapshot import learn
        from synth_ops.generators.relational_trees.model import save

        save(learn(snapshot, ChowLiuBlocks(alpha=self._alpha), progress), folder)

    def load(self, folder: Path, metadata: Metadata) -> FittedTrees:
        """Load what `fit` wrote."""
        return FittedTrees(folder, metadata, shard_cells=self._shard_cells)
