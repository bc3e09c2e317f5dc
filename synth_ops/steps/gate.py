"""Gate a copy: run every check, let Great Expectations judge the evidence, write the report."""

from __future__ import annotations

import contextlib
import math
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from synth_ops import __version__
from synth_ops.artifact_io import REPORT_FILE, outcome_to_json, read_copy, read_report, read_snapshot
from synth_ops.artifacts import (
    ArtifactKind,
    ArtifactRef,
    Evidence,
    GateReport,
    Outcome,
    Severity,
    Snapshot,
    SyntheticCopy,
)
from synth_ops.choice import Choice
from synth_ops.errors import ArtifactError, PublishError, RecipeError, SynthOpsError, refuse_interruption
from synth_ops.fingerprint import fingerprint
from synth_ops.metadata import Metadata
from synth_ops.ports import (
    Check,
    CheckContext,
    GeneratorFactory,
    Progress,
    ProgressListener,
    StagedCopy,
    Threshold,
)
from synth_ops.recipe import Policy
from synth_ops.steps.audit import audited
from synth_ops.store import Store

Judge = Callable[[Sequence[Evidence]], list[Outcome]]
ReportWriter = Callable[..., Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a copy has to pass.

    Attributes:
        checks: The plug-ins, by name.
        judge: Turns evidence into outcomes.
        thresholds: The limits that differ from the measures' own.
        policy, reason: As the recipe has them, for the report.
        labels: Whether the report names text categories.
        queries: The recipe's own queries, by name.
        timeout_s: How long one check may take, and the audit before them.
        suites: The recipe's Great Expectations suites, by table.
        write_report: Writes the HTML report into a folder.
        generator: Makes a generator from its name and settings, to be audited.
        show: Loads the copy into the target, aside; see `ports.ShowingTarget`. None where that can't or must not be.
        source_shapes: How the source's own server plans queries, given the metadata, too; see `ports.PlanningSource`.
    """

    checks: Mapping[str, Check]
    judge: Judge
    thresholds: Mapping[str, Threshold]
    suites: Mapping[str, Mapping[str, Any]]
    write_report: ReportWriter
    generator: GeneratorFactory
    policy: Policy = Policy.STANDARD
    reason: str = ""
    labels: bool = False
    queries: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 3600.0
    show: Callable[..., contextlib.AbstractContextManager[StagedCopy]] | None = None
    source_shapes: Callable[[Metadata, Sequence[str]], Sequence[str]] | None = None

    def ref(self, copy: ArtifactRef) -> ArtifactRef:
        """The id that this gate's report on a copy has: other checks, limits or suites make another one."""
        checks = {name: check.version for name, check in sorted(self.checks.items())}
        limits = {name: asdict(threshold) for name, threshold in self.thresholds.items()}
        inputs = (
            "report",
            __version__,
            copy.id,
            checks,
            limits,
            dict(self.suites),
            self.policy.value,
            self.reason,
            self.labels,
            dict(self.queries),
            self.show is not None,
            self.source_shapes is not None,
        )
        return ArtifactRef(kind=ArtifactKind.REPORT, id=fingerprint(*inputs))


def gate(copy_ref: ArtifactRef, gate: Gate, *, store: Store, progress: ProgressListener) -> tuple[GateReport, bool]:
    """Judge a copy, unless this gate did before: the same copy gets the same verdict.

    Returns:
        The report, and whether it was there already.
    """
    ref = gate.ref(copy_ref)
    if store.exists(ref):
        return read_report(store, ref), True
    copy = read_copy(store, copy_ref)
    snapshot = read_snapshot(store, copy.snapshot)
    with _Stage.of(gate, copy, progress) as stage:
        evidence = _measure(gate, snapshot, copy, store, progress, stage)
        progress(Progress(step="gate", item="judging", done=len(gate.checks), total=len(gate.checks) + 1))
        outcomes = gate.judge(evidence)
        blocked = [o for o in outcomes if not o.passed and o.evidence.severity is Severity.CRITICAL]
        verdict = "passed" if outcomes and not blocked else "failed"
        if verdict == "failed":
            stage.discard()
    if any(not math.isfinite(o.evidence.value) for o in blocked):
        # not measured is not passed, but it says nothing of the copy either: the next run measures again
        ref = ArtifactRef(kind=ArtifactKind.REPORT, id=fingerprint(ref.id, secrets.token_hex(16)))
    model = store.read(copy.model)
    with store.scratch() as folder:
        written = gate.write_report(
            folder,
            snapshot=snapshot,
            copy=copy,
            outcomes=outcomes,
            verdict=verdict,
            generator=Choice(name=model.body["generator"], settings=model.body["settings"]).label,
            settings_summary={"seed": copy.seed, "scale": copy.scale, **_makers(model.body), **_policy_summary(gate)},
            labels=gate.labels,
        )
        if written.name != REPORT_FILE:
            written.rename(folder / REPORT_FILE)
        body = {
            "copy": copy_ref.to_json(),
            "verdict": verdict,
            "outcomes": [outcome_to_json(outcome) for outcome in outcomes],
        }
        store.write(ref, body, folder)
    return read_report(store, ref), False


class _Stage:
    """The copy in the target, aside, once a check asks for it, for as long as the context is open.

    What could not be loaded is not tried again. Where the copy fails, nothing of it stays.
    """

    def __init__(self, show: Callable[[], contextlib.AbstractContextManager[StagedCopy]] | None) -> None:
        self._show, self._lock, self._open = show, threading.Lock(), contextlib.ExitStack()
        self._found: StagedCopy | SynthOpsError | None = None

    @classmethod
    @contextlib.contextmanager
    def of(cls, gate: Gate, copy: SyntheticCopy, progress: ProgressListener) -> Iterator[_Stage]:
        """Nothing is loaded yet."""

        def told(tick: Progress) -> None:
            progress(replace(tick, step="gate", item=f"target: {tick.item}"))

        show = gate.show and partial(gate.show, copy.metadata, copy.tables, copy_id=copy.ref.id, progress=told)
        stage = cls(show)
        with stage._open:
            yield stage

    @property
    def opener(self) -> Callable[[], StagedCopy] | None:
        """What checks may call; see `CheckContext.stage`."""
        return self._opened if self._show else None

    def discard(self) -> None:
        """Leave nothing there when the context ends."""
        if isinstance(self._found, StagedCopy):
            self._found.discard()

    def _opened(self) -> StagedCopy:
        with self._lock:
            if self._found is None and self._show:
                try:
                    self._found = self._open.enter_context(self._show())
                except SynthOpsError as error:
                    self._found = error
        if isinstance(self._found, StagedCopy):
            return self._found
        raise self._found or PublishError("the target shows no copy", "")


def _measure(
    gate: Gate, snapshot: Snapshot, copy: SyntheticCopy, store: Store, progress: ProgressListener, stage: _Stage
) -> list[Evidence]:
    """What all checks find; the audit is made before, where privacy is judged at all."""
    context = CheckContext(snapshot=snapshot, copy=copy, thresholds=gate.thresholds, seed=copy.seed, suites=gate.suites)
    shapes = gate.source_shapes and partial(gate.source_shapes, snapshot.metadata)
    context = replace(context, queries=gate.queries, stage=stage.opener, source_shapes=shapes)
    evidence: list[Evidence] = []
    total = len(gate.checks) + 1
    with contextlib.ExitStack() as stack:
        if gate.policy is not Policy.OFF_FOR_PRIVACY:
            context = replace(context, **_audit(gate, snapshot, copy, store, stack, progress))
        for number, (name, check) in enumerate(gate.checks.items()):
            progress(Progress(step="gate", item=name, done=number, total=total))
            evidence.extend(evaluate(name, check, context, timeout_s=gate.timeout_s))
    return evidence


def _audit(
    gate: Gate,
    snapshot: Snapshot,
    copy: SyntheticCopy,
    store: Store,
    stack: contextlib.ExitStack,
    progress: ProgressListener,
) -> dict[str, Any]:
    """The audit, or why there is none: that blocks, as nobody knows then what the generator gives away."""
    model = store.read(copy.model).body

    def told(tick: Progress) -> None:
        progress(replace(tick, step="gate", item=f"audit: {tick.item}"))

    generator = gate.generator(model["generator"], model["settings"])
    audit = audited(snapshot, generator, model=copy.model, store=store, progress=told)
    closed, put_away = threading.Event(), threading.Event()

    def hold(answer: Callable[[Any], None]) -> None:
        """Keep the audit open in the thread that made it; one that comes too late is put away at once."""
        with audit as made:
            answer(made)
            closed.wait()
        put_away.set()

    stack.callback(closed.set)
    try:
        result = _in_thread(hold, name="audit", timeout_s=gate.timeout_s)
    except queue.Empty:
        return {"no_audit": f"the generator took longer than {gate.timeout_s:g} s to learn from half of the subjects"}
    if isinstance(result, ArtifactError | KeyboardInterrupt):
        raise result
    if isinstance(result, BaseException):
        if isinstance(result, Exception):
            refuse_interruption(result)
        return {"no_audit": f"the generator could not learn from half of the subjects: {type(result).__name__}"}
    stack.callback(put_away.wait)
    stack.callback(closed.set)
    return {"audit": result}


def evaluate(name: str, check: Check, context: CheckContext, *, timeout_s: float) -> Sequence[Evidence]:
    """What one check finds. One that raises, hangs, or returns something else blocks: no limit lets that pass."""
    try:
        result = _in_thread(lambda answer: answer(check.evaluate(context)), name=f"check {name}", timeout_s=timeout_s)
    except queue.Empty:
        reason = f"it took longer than {timeout_s:g} s"
    else:
        if isinstance(result, RecipeError | KeyboardInterrupt):
            raise result
        if isinstance(result, list | tuple) and all(isinstance(each, Evidence) for each in result):
            return result
        reason = f"it returned {type(result).__name__}, not evidence"
        if isinstance(result, BaseException):
            reason = type(result).__name__
        if isinstance(result, Exception):
            refuse_interruption(result)
    return [Evidence(check=f"{name}.error", subject="copy", value=math.nan, n=0, maximum=0.0, detail=reason)]


def _in_thread(work: Callable[[Callable[[Any], None]], object], *, name: str, timeout_s: float) -> Any:
    """What `work` answers, or what it raises: a plug-in may raise anything, and its text may hold values.

    A thread can't be stopped: what hangs is left behind, and does not keep the process from ending.

    Raises:
        queue.Empty: It took too long.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run() -> None:
        try:
            work(answers.put)
        except BaseException as error:  # noqa: BLE001  one that is lost here would be waited for
            answers.put(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return answers.get(timeout=timeout_s)


def _makers(model: Mapping[str, Any]) -> dict[str, str]:
    """Which generators make the columns of which tables, where there are several."""
    tables: dict[str, list[str]] = {}
    for table, maker in model.get("makers", {}).items():
        tables.setdefault(maker, []).append(table)
    return {f"made by {maker}": ", ".join(names) for maker, names in tables.items()}


def _policy_summary(gate: Gate) -> dict[str, str]:
    """The policy and its reason, and what differs from it, in words."""
    limits = {
        name: " ".join(
            f"{level}s at {limit:g}"
            for level, limit in (("warn", each.warn), ("block", each.block))
            if limit is not None
        )
        for name, each in gate.thresholds.items()
    }
    return {"policy": gate.policy.value, **({"reason": gate.reason} if gate.reason else {}), **limits}
