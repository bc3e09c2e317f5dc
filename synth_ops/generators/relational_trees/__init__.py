"""The built-in generator: sequential decision trees with leaf histograms, over whole databases.

Every column is drawn from the leaf of a tree that saw its parents' columns and its own row so far. Real values are kept
only in codecs, and only where at least k subjects share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from synth_ops.artifact_io import join_parts
from synth_ops.artifacts import Snapshot, TableData
from synth_ops.errors import RecipeError
from synth_ops.metadata import Metadata
from synth_ops.ports import ProgressListener

if TYPE_CHECKING:
    from synth_ops.generators.relational_trees.guests import Guest
    from synth_ops.generators.relational_trees.model import AnyBlock, TableModel
    from synth_ops.generators.relational_trees.sampling import Sampler


class Privacy(StrEnum):
    """Where on the curve of fidelity against privacy a model stands."""

    STANDARD = "standard"
    """As near to the source as can be while attackers are still about where a fresh sample would leave them."""
    STRICT = "strict"
    """Further from every single row, and a little from the source."""


_SETTINGS: Mapping[Privacy, Mapping[str, float]] = {
    Privacy.STANDARD: {"min_leaf": 20, "alpha": 1.5, "evidence": 2.2},
    Privacy.STRICT: {"min_leaf": 40, "alpha": 3.0, "evidence": 5.0},
}


class RelationalTrees:
    """Learns any relational schema on a CPU.

    Args:
        privacy: `standard`, or `strict`: further from every single row, and a little from the source.
        min_leaf, alpha, evidence: Instead of what `privacy` says; see `block.BlockSettings`.
        shard_cells: How large a shard may be, in rows by columns: what is drawn at a time, in about 40 bytes a cell.

    Raises:
        RecipeError: There is no such privacy.
    """

    version = "10"
    frame: ClassVar[bool] = True
    """Whether single columns of its tables may be made by other generators."""

    def __init__(
        self,
        *,
        privacy: str = Privacy.STANDARD,
        min_leaf: int | None = None,
        alpha: float | None = None,
        evidence: float | None = None,
        shard_cells: int = 8_000_000,
    ) -> None:
        if privacy not in list(Privacy):
            raise RecipeError(f"generator 'relational_trees' has no privacy {privacy!r}", f"use {' or '.join(Privacy)}")
        chosen = {"min_leaf": min_leaf, "alpha": alpha, "evidence": evidence}
        self._settings: dict[str, Any] = {
            **_SETTINGS[Privacy(privacy)],
            **{name: value for name, value in chosen.items() if value is not None},
        }
        self._shard_cells = shard_cells

    def fit(self, snapshot: Snapshot, folder: Path, *, progress: ProgressListener) -> None:
        """Learn from a snapshot and write arrays and JSON into `folder`."""
        self._fit(snapshot, folder, {}, progress)

    def refit(self, snapshot: Snapshot, folder: Path, previous: Path, *, progress: ProgressListener) -> None:
        """The same, with the blocks of a previous model whose data did not change."""
        from synth_ops.generators.relational_trees.model import blocks_of, load

        self._fit(snapshot, folder, blocks_of(load(previous)), progress)

    def _fit(self, snapshot: Snapshot, folder: Path, known: Mapping[str, AnyBlock], progress: ProgressListener) -> None:
        from synth_ops.generators.relational_trees.block import BlockSettings
        from synth_ops.generators.relational_trees.learning.method import TreeBlocks
        from synth_ops.generators.relational_trees.learning.snapshot import learn
        from synth_ops.generators.relational_trees.model import save

        blocks = TreeBlocks(settings=BlockSettings(**self._settings), known=known)
        save(learn(snapshot, blocks, progress), folder)

    def load(self, folder: Path, metadata: Metadata) -> FittedTrees:
        """Load what `fit` wrote."""
        return FittedTrees(folder, metadata, shard_cells=self._shard_cells)


class FittedTrees:
    """A fitted model of a whole database.

    Args:
        shard_cells: How large a shard may be, in cells.
        guests: Other models that make columns, by table.
    """

    def __init__(
        self,
        folder: Path,
        metadata: Metadata,
        *,
        shard_cells: int,
        guests: Mapping[str, Guest] = MappingProxyType({}),
    ) -> None:
        self._folder, self._metadata, self._shard_cells, self._guests = folder, metadata, shard_cells, guests
        self._models: Mapping[str, TableModel] = {}
        self._samplers: dict[tuple[int, float], Sampler] = {}

    def with_guests(self, guests: Mapping[str, Guest]) -> FittedTrees:
        """The same model, some columns of which others make."""
        return FittedTrees(self._folder, self._metadata, shard_cells=self._shard_cells, guests=guests)

    def shards(self, scale: float) -> int:
        """How many shards a copy is made of: the same number wherever it is made."""
        return self._sampler(0, scale).plan.count

    def sample_shard(
        self, folder: Path, shard: int, *, seed: int, scale: float, progress: ProgressListener
    ) -> Mapping[str, TableData]:
        """Write one shard below `folder`; all shards together are the copy."""
        return self._sampler(seed, scale).draw(shard, folder, progress)

    def sample(self, folder: Path, *, seed: int, scale: float, progress: ProgressListener) -> Mapping[str, TableData]:
        """Write a synthetic copy of every table below `folder`; the same seed gives the same bytes."""
        shards = range(self.shards(scale))
        return join_parts([self.sample_shard(folder, n, seed=seed, scale=scale, progress=progress) for n in shards])

    def _sampler(self, seed: int, scale: float) -> Sampler:
        from synth_ops.generators.relational_trees.model import load
        from synth_ops.generators.relational_trees.sampling import Sampler

        self._models = self._models or load(self._folder)
        if (seed, scale) not in self._samplers:
            self._samplers = {
                (seed, scale): Sampler(
                    self._models,
                    self._metadata,
                    seed=seed,
                    scale=scale,
                    shard_cells=self._shard_cells,
                    guests=self._guests,
                )
            }
        return self._samplers[seed, scale]
