"""Profiles of snapshots, kept in the store: how far the source moved, and whether an earlier model will still do."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from synth_ops.artifact_io import read_snapshot
from synth_ops.artifacts import ArtifactRef, Snapshot
from synth_ops.errors import ArtifactNotFoundError
from synth_ops.fingerprint import fingerprint
from synth_ops.metadata import Metadata
from synth_ops.report.drift import drift, profile
from synth_ops.store import Store

_STILL, _ROWS, _SIGMAS = 0.1, 0.1, 3


def source_drift(store: Store, snapshot: Snapshot, against: str | None) -> dict[str, Any] | None:
    """How far the source moved since another snapshot; this one's profile is kept for the next night.

    Args:
        against: The other snapshot's id.

    Returns:
        `against`, and `columns`, PSI by name; None where nothing is known of the other one.
    """
    _known(store, snapshot)
    before = _kept(store, against) if against else None
    if before is None:
        return None
    return {"against": against, "columns": drift(before["tables"], snapshot, store.keyed_digest)}


def stands_still(store: Store, earlier: ArtifactRef, later: ArtifactRef) -> bool:
    """Whether a source moved so little between two snapshots that what was learned from the earlier one will do.

    It does when tables, columns, kinds and keys are the same, no table's rows are more or fewer by a tenth, and no
    column's PSI is above 0.1, the customary mark of a population that did not move.
    """
    try:
        before = _kept(store, earlier.id) or _known(store, read_snapshot(store, earlier))
    except ArtifactNotFoundError:
        return False
    after = read_snapshot(store, later)
    if before["shape"] != _shape(store, after.metadata):
        return False
    if not all(_about(table["rows"], after.tables[name].rows) for name, table in before["tables"].items()):
        return False
    return max(drift(before["tables"], after, store.keyed_digest).values(), default=0.0) <= _STILL


def _about(rows: int, now: int) -> bool:
    return abs(now - rows) <= max(_ROWS * rows, _SIGMAS * math.sqrt(rows))


def _shape(store: Store, metadata: Metadata) -> str:
    """A digest of the metadata without what every snapshot has of its own: counts, and reasons that name them."""
    tables = tuple(
        dataclasses.replace(
            table, rows=0, columns=tuple(dataclasses.replace(column, evidence="") for column in table.columns)
        )
        for table in metadata.tables
    )
    return store.keyed_digest(fingerprint(dataclasses.asdict(Metadata(tables=tables))))


def _known(store: Store, snapshot: Snapshot) -> dict[str, Any]:
    """What is kept of a snapshot, which it outlives: nothing in it is a value."""
    kept = _kept(store, snapshot.ref.id)
    if kept is None:
        kept = {"tables": profile(snapshot, store.keyed_digest), "shape": _shape(store, snapshot.metadata)}
        store.record("profile", snapshot.ref.id, name="snapshot", entry=kept)
    return kept


def _kept(store: Store, snapshot: str) -> dict[str, Any] | None:
    return next((each for each in store.recorded("profile", snapshot, last=1) if "shape" in each), None)
