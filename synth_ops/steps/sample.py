"""Sample a synthetic copy from a fitted model."""

from __future__ import annotations

from synth_ops import __version__
from synth_ops.artifact_io import read_model, read_snapshot, tables_to_json
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.errors import SampleError
from synth_ops.fingerprint import fingerprint
from synth_ops.ports import Generator, ProgressListener
from synth_ops.store import Store


def sample(
    model: ArtifactRef, generator: Generator, *, seed: int, scale: float, store: Store, progress: ProgressListener
) -> tuple[ArtifactRef, bool]:
    """Draw every table, unless the same model was sampled with the same seed and scale before.

    Returns:
        The copy, and whether it was there already.

    Raises:
        SampleError: The model can't be sampled.
    """
    ref = ArtifactRef(kind=ArtifactKind.COPY, id=fingerprint("copy", __version__, model.id, seed, scale))
    if store.exists(ref):
        return ref, True
    fitted = read_model(store, model)
    metadata = read_snapshot(store, fitted.snapshot).metadata
    with store.scratch() as folder:
        tables = generator.load(fitted.path, metadata).sample(folder, seed=seed, scale=scale, progress=progress)
        missing = [name for name in metadata.table_names if name not in tables]
        if missing:
            raise SampleError(f"generator {fitted.generator!r} made no table {', '.join(missing)}")
        body = {
            "model": model.to_json(),
            "snapshot": fitted.snapshot.to_json(),
            "metadata": metadata.to_json(),
            "tables": tables_to_json(folder, tables),
            "seed": seed,
            "scale": scale,
        }
        store.write(ref, body, folder)
    return ref, False
