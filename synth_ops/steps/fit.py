"""Fit a generator on a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth_ops import __version__
from synth_ops.artifact_io import MODEL_FOLDER, read_snapshot
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.fingerprint import fingerprint
from synth_ops.ports import Generator, ProgressListener
from synth_ops.store import Store


def fit(
    snapshot: ArtifactRef,
    generator: Generator,
    *,
    name: str,
    settings: Mapping[str, Any],
    store: Store,
    progress: ProgressListener,
) -> tuple[ArtifactRef, bool]:
    """Learn from a snapshot, unless the same generator with the same settings did before.

    Args:
        name: The generator's name in the registry, to load the model with later.

    Returns:
        The model, and whether it was there already.

    Raises:
        FitError: The generator could not learn from this snapshot.
    """
    inputs = ("model", __version__, name, generator.version, dict(settings), snapshot.id)
    ref = ArtifactRef(kind=ArtifactKind.MODEL, id=fingerprint(*inputs))
    if store.exists(ref):
        return ref, True
    with store.scratch() as folder:
        (folder / MODEL_FOLDER).mkdir()
        generator.fit(read_snapshot(store, snapshot), folder / MODEL_FOLDER, progress=progress)
        body = {
            "snapshot": snapshot.to_json(),
            "generator": name,
            "generator_version": generator.version,
            "settings": dict(settings),
        }
        store.write(ref, body, folder)
    return ref, False
