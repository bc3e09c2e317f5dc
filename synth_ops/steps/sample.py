"""Sample a synthetic copy from a fitted model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from synth_ops import __version__
from synth_ops.artifact_io import read_model, read_snapshot, tables_to_json
from synth_ops.artifacts import ArtifactKind, ArtifactRef, TableData
from synth_ops.errors import SampleError
from synth_ops.fingerprint import fingerprint
from synth_ops.ports import Generator, ProgressListener, ShardedGenerator
from synth_ops.steps.reference_tables import put_in
from synth_ops.steps.shards import ShardJob, available_workers, draw_shards, gather_shards, shard_ref
from synth_ops.store import Store

_Drawn = tuple[Mapping[str, TableData], Mapping[Path, str]]
"""The tables of a copy, and the digests of those of their files that are known."""


def sample(
    model: ArtifactRef,
    generator: Generator,
    *,
    seed: int,
    scale: float,
    store: Store,
    progress: ProgressListener,
    workers: int | None = None,
) -> tuple[ArtifactRef, bool]:
    """Draw every table, unless the same model was sampled with the same seed and scale before.

    Args:
        workers: How many processes may draw at a time, where the generator can part its copies; `available_workers`
            when left out. The copy is the same for any number.

    Returns:
        The copy, and whether it was there already.

    Raises:
        SampleError: The model can't be sampled.
    """

    def draw(folder: Path) -> _Drawn:
        fitted = read_model(store, model)
        metadata = read_snapshot(store, fitted.snapshot).metadata
        loaded = generator.load(fitted.path, metadata)
        count = loaded.shards(scale) if isinstance(loaded, ShardedGenerator) else 1
        processes = min(count, workers or available_workers())
        if processes == 1:
            return loaded.sample(folder, seed=seed, scale=scale, progress=progress), {}
        settings = store.read(model).body["settings"]
        job = ShardJob(
            generator=fitted.generator,
            settings=settings,
            model=fitted.path,
            metadata=metadata,
            folder=folder,
            seed=seed,
            scale=scale,
        )
        return draw_shards(job, count, processes, progress), {}

    return _copy(model, draw, seed=seed, scale=scale, store=store)


def assemble(model: ArtifactRef, count: int, *, seed: int, scale: float, store: Store) -> tuple[ArtifactRef, bool]:
    """Put a copy together from `count` shards that were drawn apart: the same copy as `sample` makes.

    Raises:
        ArtifactNotFoundError: A shard was not drawn yet.
    """
    shards = [shard_ref(model, shard, seed=seed, scale=scale) for shard in range(count)]
    return _copy(model, lambda folder: gather_shards(shards, folder, store), seed=seed, scale=scale, store=store)


def _copy(
    model: ArtifactRef, draw: Callable[[Path], _Drawn], *, seed: int, scale: float, store: Store
) -> tuple[ArtifactRef, bool]:
    """The copy that `draw` writes the tables of, unless it is there already."""
    ref = ArtifactRef(kind=ArtifactKind.COPY, id=fingerprint("copy", __version__, model.id, seed, scale))
    if store.exists(ref):
        return ref, True
    fitted = read_model(store, model)
    snapshot = read_snapshot(store, fitted.snapshot)
    metadata = snapshot.metadata
    with store.scratch() as folder:
        tables, digests = draw(folder)
        missing = [name for name in metadata.table_names if name not in tables]
        if missing:
            raise SampleError(f"generator {fitted.generator!r} made no table {', '.join(missing)}")
        tables = put_in(folder, metadata, snapshot.tables, tables)
        body = {
            "model": model.to_json(),
            "snapshot": fitted.snapshot.to_json(),
            "metadata": metadata.to_json(),
            "tables": tables_to_json(folder, tables),
            "seed": seed,
            "scale": scale,
        }
        store.write(ref, body, folder, digests)
    return ref, False
