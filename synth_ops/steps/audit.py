"""Audit a generator: what a copy gives away when its model saw only half of the subjects."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping

from synth_ops import __version__
from synth_ops.artifact_io import MODEL_FOLDER, tables_from_json, tables_to_json
from synth_ops.artifacts import ArtifactKind, ArtifactRef, Snapshot, TableData
from synth_ops.errors import SampleError
from synth_ops.fingerprint import fingerprint
from synth_ops.metadata import Metadata
from synth_ops.ports import Audit, ComposedGenerator, Generator, ProgressListener
from synth_ops.steps.holdout import MOST_ROWS, Sides, SplitPlan, plan_split, side_metadata, split
from synth_ops.store import Store

_SEED = 0
_VERSION = "2"


@contextlib.contextmanager
def audited(
    snapshot: Snapshot,
    generator: Generator,
    *,
    model: ArtifactRef,
    store: Store,
    progress: ProgressListener,
) -> Iterator[Audit]:
    """Both sides of a snapshot, for as long as the context is open, and a copy learned from one of them.

    It is learned as a model was: where several generators made that, each makes the same tables again.

    The copy is made once for a snapshot and a generator with its settings, and found in the store after that; the sides
    follow from the snapshot, and no row of them stays anywhere.

    Raises:
        FitError: The generator can't learn from half of the subjects.
        SampleError: Or not make a copy.
    """
    plan = plan_split(snapshot.metadata)
    if not plan.roots:
        yield Audit(persons=plan.persons)
        return
    fitted = store.read(model)
    made_by = [fitted.body[key] for key in ("generator", "settings", "makers")]
    inputs = ("audit", __version__, _VERSION, MOST_ROWS, generator.version, *made_by, snapshot.ref.id)
    ref = ArtifactRef(kind=ArtifactKind.AUDIT, id=fingerprint(*inputs))
    with store.scratch() as folder:
        sides = split(snapshot, plan, folder)
        metadata = side_metadata(plan.metadata, sides.train)
        if not store.exists(ref):
            if isinstance(generator, ComposedGenerator):
                generator = generator.as_in(fitted.path / MODEL_FOLDER)
            _make(ref, generator, dataclasses.replace(snapshot, metadata=metadata, tables=sides.train), store, progress)
        stored = store.read(ref)
        yield _audit(plan, sides, metadata, tables_from_json(stored.path, stored.body["tables"]))


def _make(ref: ArtifactRef, generator: Generator, train: Snapshot, store: Store, progress: ProgressListener) -> None:
    with store.scratch() as model, store.scratch() as folder:
        generator.fit(train, model, progress=progress)
        tables = generator.load(model, train.metadata).sample(folder, seed=_SEED, scale=1.0, progress=progress)
        missing = [name for name in train.metadata.table_names if name not in tables]
        if missing:
            raise SampleError(f"the generator made no table {', '.join(missing)}")
        store.write(ref, {"snapshot": train.ref.to_json(), "tables": tables_to_json(folder, tables)}, folder)


def _audit(plan: SplitPlan, sides: Sides, metadata: Metadata, copy: Mapping[str, TableData]) -> Audit:
    return Audit(
        metadata=metadata,
        train=sides.train,
        holdout=sides.holdout,
        copy=copy,
        split=plan.tables,
        subjects=sides.subjects,
        persons=plan.persons,
    )
