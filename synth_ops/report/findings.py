"""A report's judged numbers, arranged for people: with words, limits in one place, what fails first."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth_ops.report import plots, words
from synth_ops.report.document import family
from synth_ops.report.scores import is_exact, used

Document = Mapping[str, Any]
Outcome = Mapping[str, Any]
ORDER = {"blocks": 0, "warning": 1, "passed": 2, "info": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One judged number, with its words and its place within its limits."""

    check: str
    title: str
    subject: str
    table: str
    detail: str
    value: str
    limit: str
    interval: str
    between: str
    basis: str
    n: int
    status: str
    used: float
    exact: bool
    strip: Mapping[str, float] | None
    way_out: str
    can_block: bool

    @property
    def strip_label(self) -> str:
        """The strip in words, for those who can't see it."""
        between = f", 95% interval {self.interval}" if self.interval else ""
        return f"{self.value}{between}; {self.limit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The findings of one family of checks, those that do not pass first, then those nearest to their limits."""

    name: str
    question: str
    about: str
    findings: Sequence[Finding]
    seconds: float

    @property
    def blocked(self) -> int:
        """How many block."""
        return sum(finding.status == "blocks" for finding in self.findings)

    @property
    def warned(self) -> int:
        """How many are only shown."""
        return sum(finding.status == "warning" for finding in self.findings)

    @property
    def headline(self) -> Finding | None:
        """The first that does not pass, or what uses most of its limit, where limits leave room."""
        failing = self.findings[:1] if self.blocked or self.warned else []
        return next(iter([*failing, *(finding for finding in self.findings if not finding.exact)]), None)

    @property
    def closest(self) -> Sequence[Finding]:
        """Of every check what is nearest to its limit: one line a check."""
        seen: dict[str, Finding] = {}
        for finding in self.findings:
            if not finding.exact:
                seen.setdefault(finding.check, finding)
        return list(seen.values())


def findings(document: Document) -> list[Finding]:
    """Every judged number: what blocks first, then warnings, then what is nearest to its limit.

    A number that one limit makes warn and another one block is one finding.
    """
    groups: dict[tuple[str, ...], dict[str, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
    for outcome in document["outcomes"]:
        evidence = outcome["evidence"]
        same = evidence["check"], evidence["subject"], evidence.get("basis", ""), str(evidence["value"])
        groups[same][evidence["severity"]].append(outcome)
    every = [
        _finding(block, warn)
        for group in groups.values()
        for block, warn in itertools.zip_longest(group["critical"], [*group["warning"], *group["info"]])
    ]
    return sorted(every, key=lambda each: (ORDER[each.status], -each.used, each.check, each.subject))


def families(document: Document, every: Sequence[Finding]) -> list[Family]:
    """The findings by family, in the order in which people ask."""
    groups: dict[str, list[Finding]] = defaultdict(list)
    for finding in every:
        groups[family(finding.check)].append(finding)
    known = list(words.FAMILIES)
    seconds = document["times"]["seconds"]
    return [
        Family(
            name=name,
            question=words.family_words(name)[0],
            about=words.family_words(name)[1],
            findings=groups[name],
            seconds=seconds.get(name, 0.0),
        )
        for name in sorted(groups, key=lambda name: (known.index(name) if name in known else len(known), name))
    ]


def _finding(block: Outcome | None, warn: Outcome | None) -> Finding:
    """One number.

    Args:
        block, warn: As it was judged by the limit that blocks, and by the one that warns.
    """
    evidence = ((block or warn) or {})["evidence"]
    softer = warn["evidence"] if block and warn else None
    status = _status(block, warn)
    exact = is_exact(evidence)
    return Finding(
        check=evidence["check"],
        title=words.title(evidence["check"]),
        subject=evidence["subject"],
        table=evidence.get("table", ""),
        detail=evidence["detail"],
        value=words.number(evidence["value"]),
        limit=words.limits(evidence, softer),
        interval=words.interval(evidence),
        between=words.between(evidence),
        basis=words.basis(evidence.get("basis", "")),
        n=evidence["n"],
        status=status,
        used=0.0 if status == "info" else used(evidence),
        exact=exact,
        strip=None if exact else plots.strip(evidence, softer),
        way_out=words.way_out(evidence) if status in ("blocks", "warning") else "",
        can_block=block is not None,
    )


def _status(block: Outcome | None, warn: Outcome | None) -> str:
    if block and not block["passed"]:
        return "blocks"
    if warn and warn["evidence"]["severity"] == "info":
        return "info"
    return "warning" if warn and not warn["passed"] else "passed"
