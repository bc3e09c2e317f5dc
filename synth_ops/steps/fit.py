"""Fit a generator on a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from synth_ops import __version__
from synth_ops.artifact_io import MODEL_FOLDER, read_model, read_snapshot
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.fingerprint import fingerprint
from synth_ops.learning_curve import learning_curves
from synth_ops.ports import ComposedGenerator, Generator, ProgressListener, RefittingGenerator
from synth_ops.store import Store


def fit(
    snapshot: ArtifactRef,
    generator: Generator,
    *,
    name: str,
    settings: Mapping[str, Any],
    store: Store,
    progress: ProgressListener,
    previous: ArtifactRef | None = None,
) -> tuple[ArtifactRef, bool]:
    """Learn from a snapshot, unless the same generator with the same settings did before.

    Args:
        name: The generator's name in the registry, to load the model with later.
        previous: A model of an earlier snapshot: a generator that can takes over from it what did not change.

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
        made_by = {"generator": name, "generator_version": generator.version, "settings": dict(settings)}
        read, place = read_snapshot(store, snapshot), folder / MODEL_FOLDER
        before = _made_alike(previous, made_by, store)
        if before and isinstance(generator, RefittingGenerator):
            generator.refit(read, place, before, progress=progress)
        else:
            generator.fit(read, place, progress=progress)
        makers = dict(generator.made_in(place)) if isinstance(generator, ComposedGenerator) else {}
        body = {
            "snapshot": snapshot.to_json(),
            **made_by,
            "makers": makers,
            "package_version": __version__,
            "learning": [asdict(curve) for curve in learning_curves(place)],
        }
        store.write(ref, body, folder)
    return ref, False


def _made_alike(previous: ArtifactRef | None, made_by: Mapping[str, Any], store: Store) -> Path | None:
    """The folder of a model that was made by the same generator in the same way; its digests are checked first."""
    if previous is None or not store.exists(previous):
        return None
    body = store.read(previous).body
    alike = {**made_by, "package_version": __version__}.items() <= body.items()
    return read_model(store, previous).path if alike else None
