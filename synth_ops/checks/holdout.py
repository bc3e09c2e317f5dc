"""The measures that need subjects whom the model did not see; without enough of them, nothing passes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import duckdb

from synth_ops.artifacts import Basis, Evidence, Severity
from synth_ops.checks.inference import INFERENCE_LIMITS, attribute_inference, identity_disclosure
from synth_ops.checks.memorisation import (
    MEMORISATION_LIMITS,
    distance_shares,
    membership,
    neighbour_ratio,
    views_of,
)
from synth_ops.checks.rows import Databases, open_databases
from synth_ops.checks.views import failed
from synth_ops.errors import refuse_interruption
from synth_ops.metadata import path_to
from synth_ops.ports import Audit, CheckContext, Threshold

_SUBJECTS = "privacy.holdout_subjects"
HOLDOUT_LIMITS: Mapping[str, Threshold] = {**MEMORISATION_LIMITS, **INFERENCE_LIMITS}
_FEWEST = 10
"""A side: of fewer, a copy of everybody looks no different from chance."""


def held_out(context: CheckContext, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """P3 to P7, and how many subjects they rest on; nothing where the policy asks for no audit."""
    if context.audit is None:
        return [failed(check=_SUBJECTS, subject="copy", reason=context.no_audit)] if context.no_audit else []
    audit = context.audit
    evidence = [_enough(context, audit), *_undecided(context, audit)]
    if not audit.split:
        return evidence
    with open_databases(audit.metadata, train=audit.train, holdout=audit.holdout, audit=audit.copy) as databases:
        for root in audit.subjects:
            evidence += _root(databases, audit, root, limits)
    return evidence


def _root(databases: Databases, audit: Audit, root: str, limits: Mapping[str, Threshold]) -> Iterator[Evidence]:
    try:
        views = views_of(databases, audit, root)
    except (duckdb.Error, KeyError) as error:
        refuse_interruption(error)
        yield failed(check=_SUBJECTS, table=root, reason=type(error).__name__)
        return
    members = audit.subjects[root]
    for view in views:
        shares, ratio = partial(distance_shares, view, members, limits), partial(neighbour_ratio, view, limits)
        yield from _timed(shares, "privacy.dcr_share", view.table)
        yield from _timed(ratio, "privacy.nndr_ratio", view.table)
    if views:
        yield from _timed(lambda: membership(views, root, limits), "privacy.membership_auc", root)
    for name in audit.split:
        if path_to(audit.metadata, name, root) is not None:
            table = audit.metadata.table(name)
            yield from _timed(
                lambda table=table: list(attribute_inference(databases, table, root, limits)),  # type: ignore[misc]
                "privacy.attribute_inference",
                name,
            )
            yield from _timed(
                lambda table=table: list(identity_disclosure(databases, table, limits)),  # type: ignore[misc]
                "privacy.replicated_uniques",
                name,
            )


def _enough(context: CheckContext, audit: Audit) -> Evidence:
    """Whether there are subjects enough on either side to show anything."""
    fewest = min(audit.subjects.values(), default=0)
    total = sum(table.rows for table in context.snapshot.metadata.tables if table.subject)
    if audit.subjects:
        halves = ", ".join(f"{count:,} of {name}" for name, count in audit.subjects.items())
        detail = f"on either side: {halves}"
    elif audit.persons:
        detail = (
            f"{total} persons are too few to show that the copy tells nothing of them: copy more, or say in the recipe "
            "that they are none (`subject: false`) or nobody's data (`gate: {policy: off-for-privacy, reason: ...}`)"
        )
    else:
        detail = "no table holds persons or many rows: there is nobody to look for"
    return Evidence(
        check=_SUBJECTS,
        subject="copy",
        value=float(fewest),
        n=fewest,
        minimum=float(_FEWEST) if audit.persons else 0.0,
        severity=Severity.CRITICAL if audit.persons else Severity.WARNING,
        detail=detail,
        basis=Basis.AUDIT,
    )


def _undecided(context: CheckContext, audit: Audit) -> Iterator[Evidence]:
    """What the recipe calls sensitive in a table whose rows can't be held out: nobody can tell."""
    for table in context.snapshot.metadata.tables:
        for column in table.columns:
            if column.sensitive and table.name not in audit.split:
                reason = "its table's rows belong to nobody who could be held out"
                yield failed(
                    check="privacy.attribute_inference",
                    subject=f"{table.name}.{column.name}",
                    table=table.name,
                    reason=reason,
                )


def _timed(measure: Callable[[], Sequence[Evidence]], check: str, table: str) -> list[Evidence]:
    started = time.perf_counter()
    try:
        found = measure()
    except (duckdb.Error, ValueError, KeyError) as error:  # the text may hold values: only the class is kept
        refuse_interruption(error)
        return [failed(check=check, table=table, reason=type(error).__name__)]
    seconds = (time.perf_counter() - started) / max(len(found), 1)
    return [replace(each, seconds=seconds) for each in found]
