"""The measures that need subjects whom the model did not see; without enough of them, nothing passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from synth_ops.artifacts import Basis, Evidence, Severity
from synth_ops.checks.inference import INFERENCE, INFERENCE_LIMITS, attribute_inference, identity_disclosure
from synth_ops.checks.memorisation import (
    MEMORISATION_LIMITS,
    distance_shares,
    membership,
    neighbour_ratio,
    views_of,
)
from synth_ops.checks.rows import Databases, open_databases
from synth_ops.checks.views import failed, measured
from synth_ops.metadata import path_to
from synth_ops.ports import Audit, CheckContext, Threshold

_SUBJECTS, _MEMBERSHIP = "privacy.holdout_subjects", "privacy.membership_auc"
HOLDOUT_LIMITS: Mapping[str, Threshold] = {**MEMORISATION_LIMITS, **INFERENCE_LIMITS}
_TOLD = 5
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
    evidence += _other_persons(context, audit)
    with open_databases(audit.metadata, train=audit.train, holdout=audit.holdout, audit=audit.copy) as databases:
        unseen: list[str] = []
        for root in audit.subjects:
            evidence += measured(partial(_root, databases, audit, root, limits, unseen), check=_SUBJECTS, table=root)
    return [*evidence, *_unseen(unseen)]


def _root(
    databases: Databases, audit: Audit, root: str, limits: Mapping[str, Threshold], unseen: list[str]
) -> Iterator[Evidence]:
    views = views_of(databases, audit, root)
    members = audit.subjects[root]
    for view in views:
        shares, ratio = partial(distance_shares, view, members, limits), partial(neighbour_ratio, view, limits)
        yield from measured(shares, check="privacy.dcr_share", table=view.table)
        yield from measured(ratio, check="privacy.nndr_ratio", table=view.table)
    if views:
        yield from measured(partial(membership, views, root, limits), check=_MEMBERSHIP, table=root)
    else:
        unseen.append(root)
    for name in audit.split:
        if path_to(audit.metadata, name, root) is not None:
            table = audit.metadata.table(name)
            inferred = partial(attribute_inference, databases, table, root, limits)
            yield from measured(inferred, check=INFERENCE, table=name)
            disclosed = partial(identity_disclosure, databases, table, limits)
            yield from measured(disclosed, check="privacy.replicated_uniques", table=name)


def _unseen(roots: Sequence[str]) -> Iterator[Evidence]:
    """The tables whose subjects nobody can be told by: one line, however many they are."""
    if roots:
        reason = "too few learned columns, or rows on a side, to know anybody by"
        if len(roots) == 1:
            yield failed(check=_MEMBERSHIP, table=roots[0], reason=reason, severity=Severity.WARNING)
            return
        more = f" and {len(roots) - _TOLD} more" if len(roots) > _TOLD else ""
        reason = f"{reason}: {', '.join(roots[:_TOLD])}{more}"
        yield failed(check=_MEMBERSHIP, subject=f"{len(roots)} tables", reason=reason, severity=Severity.WARNING)


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


def _other_persons(context: CheckContext, audit: Audit) -> Iterator[Evidence]:
    """Persons who are on both sides, as their rows belong to others who are dealt out: nothing tells of them."""
    for table in context.snapshot.metadata.tables:
        if table.subject and table.rows and table.name not in audit.split:
            reason = f"its rows are not held out, those of {', '.join(audit.subjects)} are"
            yield failed(check=_MEMBERSHIP, table=table.name, reason=reason, severity=Severity.WARNING)


def _undecided(context: CheckContext, audit: Audit) -> Iterator[Evidence]:
    """What the recipe calls sensitive in a table whose rows can't be held out: nobody can tell."""
    for table in context.snapshot.metadata.tables:
        for column in table.columns:
            if column.sensitive and table.name not in audit.split:
                reason = "its table's rows belong to nobody who could be held out"
                yield failed(
                    check=INFERENCE,
                    subject=f"{table.name}.{column.name}",
                    table=table.name,
                    reason=reason,
                )
