"""What a run made, as one JSON object."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.errors import ArtifactError, GateFailedError, SynthOpsError
from synth_ops.store import Store

_T = TypeVar("_T")


def run_summary(store: Store, done: Sequence[Any], failure: SynthOpsError | None) -> dict[str, Any]:
    """What `run --json` prints, also when a step failed: then without what was not made."""
    from synth_ops.artifact_io import read_report

    artifacts = {result.step: result.ref.id for result in done}
    facts = {result.step: result.facts for result in done}
    if isinstance(failure, GateFailedError):
        artifacts["gate"] = failure.report_id
    judged = ArtifactRef(kind=ArtifactKind.REPORT, id=artifacts["gate"]) if "gate" in artifacts else None
    verdict = _if_readable(lambda: read_report(store, judged)) if judged else None
    if verdict:  # another generator may have stepped in
        artifacts |= {"sample": verdict.copy.id, "fit": store.facts(verdict.copy)["model"]["id"]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "verdict": verdict.verdict if verdict else None,
        "published": "publish" in facts,
        "generation": facts.get("publish", {}).get("generation"),
        "artifacts": artifacts,
        "skipped": [result.step for result in done if result.skipped],
        "instead_of": next((each["instead_of"] for each in facts.values() if "instead_of" in each), None),
        "copy": _if_readable(lambda: _copy_summary(store, artifacts["sample"])) if "sample" in artifacts else None,
        "report": str(verdict.html) if verdict else None,
        "seconds": {result.step: round(result.seconds, 3) for result in done},
        "peak_bytes": peak if sys.platform == "darwin" else peak * 1024,
        "error": str(failure) if failure else None,
    }


def _if_readable(read: Callable[[], _T]) -> _T | None:
    """What the store holds; None where it can't be read any more: the step that failed has said so."""
    try:
        return read()
    except ArtifactError:
        return None


def _copy_summary(store: Store, copy_id: str) -> dict[str, Any]:
    from synth_ops.artifact_io import read_copy

    ref = ArtifactRef(kind=ArtifactKind.COPY, id=copy_id)
    tables = {
        name: {"rows": data.rows, "files": [str(file) for file in data.files]}
        for name, data in read_copy(store, ref).tables.items()
    }
    return {"path": str(store.read(ref).path), "tables": tables}
