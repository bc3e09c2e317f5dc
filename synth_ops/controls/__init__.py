"""The gate's own test: fresh real people have to pass, and each planted fault is blocked by the check meant for it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from synth_ops.artifacts import Evidence, Severity, Snapshot
from synth_ops.controls.faults import FAULTS, Bed, Fault, NotApplicableError
from synth_ops.controls.people import People, deal
from synth_ops.ports import CheckContext, Progress, ProgressListener
from synth_ops.recipe import Policy
from synth_ops.steps.gate import Gate, evaluate
from synth_ops.store import Store

__all__ = ["Trial", "Verdict", "run_controls"]

_FRESH = "fresh real subjects"
_PRIVACY = "privacy"
_OF_COPIES = frozenset({"privacy.leaked_values", "privacy.extremes", "privacy.rare_categories"})
"""What every copy has to keep, but real people do not: they are judged by it as a copy would show them."""
_OF_GENERATORS = frozenset({"integrity.row_count"})
"""How many rows other subjects have is their own matter."""


class Verdict(StrEnum):
    """What became of one control."""

    PASSED = "passed"
    FALSE_ALARM = "false alarm"
    CAUGHT = "caught"
    MISSED = "missed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One control and its outcome.

    Attributes:
        fault: What was planted.
        meant: The measures that are meant to see it; none for what has to pass.
        blocked: What blocked it.
        reason: Why it does not apply.
    """

    fault: str
    verdict: Verdict
    meant: tuple[str, ...] = ()
    blocked: tuple[Evidence, ...] = ()
    reason: str = ""
    seconds: float = 0.0

    @property
    def blocked_by(self) -> tuple[str, ...]:
        """The measures that blocked it."""
        return tuple(dict.fromkeys(each.check for each in self.blocked))

    def to_json(self) -> dict[str, Any]:
        """Names and numbers."""
        return {
            "control": self.fault,
            "meant": list(self.meant),
            "blocked_by": list(self.blocked_by),
            "verdict": self.verdict.value,
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
        }

    @property
    def as_meant(self) -> bool:
        """Whether nothing is wrong with the gate here."""
        return self.verdict not in (Verdict.FALSE_ALARM, Verdict.MISSED)


def run_controls(snapshot: Snapshot, gate: Gate, *, store: Store, seed: int, progress: ProgressListener) -> list[Trial]:
    """Try a gate on a snapshot's own data.

    Half of the subjects (at most so many as an audit takes) stand for the source, others for its copy. Tables that
    belong to no subject are the same on both sides, and not looked at. Nothing stays in the store.

    Args:
        snapshot: The real data.
        gate: Its checks and limits are tried; no suites, which are about what is in the data.
        store: For files while this lasts.
        seed: Another one deals in another way, and plants elsewhere.
        progress: Told of every control.

    Raises:
        RecipeError: There are too few subjects.
    """
    total = len(FAULTS) + 1

    def tell(item: str, done: int) -> float:
        progress(Progress(step="self-test", item=item, done=done, total=total))
        return time.perf_counter()

    with store.scratch() as folder:
        started = tell(_FRESH, 0)
        bench = _Bench.of(gate, deal(snapshot, folder, seed))
        alarms = bench.alarms()
        verdict = Verdict.FALSE_ALARM if alarms else Verdict.PASSED
        found = [Trial(fault=_FRESH, verdict=verdict, blocked=alarms, seconds=time.perf_counter() - started)]
        for number, fault in enumerate(FAULTS, start=1):
            started = tell(fault.name, number)
            trial = bench.tried(fault, alarms, folder / str(number))
            found.append(dataclasses.replace(trial, seconds=time.perf_counter() - started))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """A gate, and the fresh real people that faults are planted among."""

    gate: Gate
    people: People
    context: CheckContext

    @classmethod
    def of(cls, gate: Gate, people: People) -> _Bench:
        """With the audit, where the policy has one."""
        audit = None if gate.policy is Policy.OFF_FOR_PRIVACY else people.audit
        context = CheckContext(
            snapshot=people.snapshot, copy=people.copy, thresholds=gate.thresholds, seed=people.seed, audit=audit
        )
        return cls(gate=gate, people=people, context=context)

    def alarms(self) -> tuple[Evidence, ...]:
        """What blocks fresh real people, and what blocks them as a copy would show them."""
        people = dataclasses.replace(self.context, copy=self.people.fresh)
        found = [each for each in self.blocked(list(self.gate.checks), people) if each.check not in _OF_COPIES]
        shown = dataclasses.replace(self.context, audit=None)
        return (*found, *(each for each in self.blocked([_PRIVACY], shown) if each.check in _OF_COPIES))

    def tried(self, fault: Fault, alarms: Sequence[Evidence], folder: Path) -> Trial:
        """Plant a fault, and see who blocks it that did not block before."""
        trial = Trial(fault=fault.name, meant=fault.meant, verdict=Verdict.NOT_APPLICABLE)
        check = fault.meant[0].partition(".")[0]
        if check == _PRIVACY and self.gate.policy is Policy.OFF_FOR_PRIVACY:
            return dataclasses.replace(trial, reason=f"the policy is {self.gate.policy.value}")
        random = np.random.default_rng(self.people.seed)
        try:
            planted = fault.plant(Bed(people=self.people, context=self.context, folder=folder, random=random))
        except NotApplicableError as error:
            return dataclasses.replace(trial, reason=str(error))
        before = {(each.check, each.subject) for each in alarms}
        blocked = [each for each in self.blocked([check], planted.context) if (each.check, each.subject) not in before]
        seen = any(
            each.check in fault.meant and math.isfinite(each.value) and planted.table in ("", each.table)
            for each in blocked
        )
        return dataclasses.replace(trial, verdict=Verdict.CAUGHT if seen else Verdict.MISSED, blocked=tuple(blocked))

    def blocked(self, checks: Sequence[str], context: CheckContext) -> tuple[Evidence, ...]:
        """What these checks find in the subjects' tables, and the judge does not let pass."""
        found = [
            each
            for name in checks
            for each in evaluate(name, self.gate.checks[name], context, timeout_s=self.gate.timeout_s)
            if each.table in ("", *self.people.split) and each.check not in _OF_GENERATORS
        ]
        judged = self.gate.judge(found)
        return tuple(o.evidence for o in judged if not o.passed and o.evidence.severity is Severity.CRITICAL)
