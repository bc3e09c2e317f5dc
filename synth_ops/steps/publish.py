"""Publish a copy that passed its gate: the only way to the target, also where many workers load its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from synth_ops import __version__
from synth_ops.artifact_io import read_copy, read_report
from synth_ops.artifacts import ArtifactKind, ArtifactRef, Generation
from synth_ops.errors import ArtifactNotFoundError, PublishRefusedError
from synth_ops.fingerprint import fingerprint
from synth_ops.location import Location, overlap
from synth_ops.ports import Progress, ProgressListener, StagingTarget, Target
from synth_ops.store import Store


def publish(
    report: ArtifactRef,
    target: Target,
    *,
    source: Location,
    destination: Location,
    keep: int,
    store: Store,
    progress: ProgressListener,
    write_page: Callable[[Path, Mapping[str, Any]], object] | None = None,
) -> tuple[ArtifactRef, Generation, bool]:
    """Swap a copy into the target, if the store holds a passed verdict on this very copy.

    Args:
        report: The gate report that the recipe's own gate makes for the copy.
        source: Where the snapshot came from; it is never written.
        destination: Where `target` writes.
        keep: How many generations to keep.
        write_page: Puts the report, with the receipt in it, into the publication's folder.

    Returns:
        The publication, the live generation, and whether it was live already.

    Raises:
        PublishRefusedError: No passed verdict, or the target is the source.
        PublishError: The target could not be written; what was live is live still.
    """
    refuse_source_as_target(source, destination)
    copy = read_copy(store, passed_copy(report, store), on_demand=True)  # what workers have loaded is not read again
    before = next((each for each in target.generations() if each.live), None)
    generation = target.publish(copy.metadata, copy.tables, copy_id=copy.ref.id, keep=keep, progress=progress)
    skipped = before is not None and before.copy == copy.ref.id
    inputs = ("publication", __version__, destination.identity, copy.ref.id, generation.number)
    ref = ArtifactRef(kind=ArtifactKind.PUBLICATION, id=fingerprint(*inputs))
    body = {
        "copy": copy.ref.to_json(),
        "report": report.to_json(),
        "target": destination.label,
        "generation": generation.number,
        "published_at": generation.published_at,
    }
    with store.scratch() as folder:
        if write_page and not store.exists(ref):
            write_page(folder, body)
        store.write(ref, body, folder)
    return ref, generation, skipped


def passed_copy(report: ArtifactRef, store: Store) -> ArtifactRef:
    """The copy that a report is about, if that says that it passed.

    Raises:
        PublishRefusedError: There is no such report, or it says otherwise.
    """
    try:
        verdict = read_report(store, report)
    except ArtifactNotFoundError:
        raise PublishRefusedError(
            "this copy has not passed the recipe's gate: the store holds no verdict on it", "run the gate step first"
        ) from None
    if verdict.verdict != "passed":
        names = ", ".join(sorted({outcome.evidence.check for outcome in verdict.failures})) or "no evidence"
        raise PublishRefusedError(f"this copy failed its gate ({names})", f"see {verdict.html}")
    return verdict.copy


def begin_publication(
    report: ArtifactRef, target: StagingTarget, *, store: Store, tasks: int
) -> tuple[str, list[list[str]]]:
    """Open a copy's place in the target, if it passed its gate, and deal its tables to at most `tasks` workers.

    Returns:
        What they show, and for each of them the names of its tables; none where there is nothing to be done apart.

    Raises:
        PublishRefusedError: No passed verdict, or the target can't be written.
    """
    copy = read_copy(store, passed_copy(report, store))
    token = target.begin(copy.metadata, copy.tables, copy_id=copy.ref.id)
    if token is None:
        return "", []
    dealt: list[list[str]] = [[] for _ in range(min(tasks, len(copy.tables)))]
    cells = {table.name: copy.tables[table.name].rows * len(table.columns) for table in copy.metadata.tables}
    load = [0] * len(dealt)
    for name in sorted(cells, key=lambda name: (-cells[name], name)):  # the largest first, each to whom has least
        least = load.index(min(load))
        dealt[least].append(name)
        load[least] += cells[name]
    return token, dealt


def load_tables(
    report: ArtifactRef,
    target: StagingTarget,
    tables: Sequence[str],
    token: str,
    *,
    store: Store,
    progress: ProgressListener,
) -> None:
    """Load some tables of a copy that passed its gate; `publish` swaps them in when all are there.

    Raises:
        PublishRefusedError: No passed verdict, or another run has begun to publish since.
        PublishError: The target does not take the rows.
    """
    copy = read_copy(store, passed_copy(report, store), on_demand=True)
    for done, name in enumerate(tables, start=1):
        target.load(copy.metadata, name, copy.tables[name], copy_id=copy.ref.id, token=token)
        progress(Progress(step="publish", item=f"table {name}", done=done, total=len(tables)))


def refuse_source_as_target(source: Location, target: Location) -> None:
    """Refuse a target that is the source, or lies inside it, or around it, under any spelling.

    Raises:
        PublishRefusedError: It is.
    """
    if overlap(source, target):
        raise PublishRefusedError(
            f"the target {target.label} is the source, or lies inside it", "choose another target in the recipe"
        )
