"""The only place that joins steps with plug-ins: one step at a time, or all of them."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth_ops import __version__
from synth_ops.artifacts import ArtifactKind, ArtifactRef, GateReport, Snapshot
from synth_ops.choice import Choice, ladder
from synth_ops.endpoints import open_source, open_target, refuse_same_database
from synth_ops.errors import (
    ArtifactNotFoundError,
    ArtifactVersionError,
    FitError,
    GateFailedError,
    RecipeError,
    SampleError,
    SynthOpsError,
    refuse_interruption,
    unforeseen,
)
from synth_ops.plan import STEPS
from synth_ops.ports import (
    ChoosyGenerator,
    ComposedGenerator,
    PlanningSource,
    Progress,
    ProgressListener,
    ShardedGenerator,
    ShowingTarget,
    Target,
    Threshold,
)
from synth_ops.recipe import Recipe, Refit
from synth_ops.registry import PluginKind, chosen, load
from synth_ops.store import Store

if TYPE_CHECKING:
    from synth_ops.controls import Trial
    from synth_ops.report import Context

_LADDER = ("fit", "sample", "gate")
"""The steps that a generator may fail, in order."""
STORE_VARIABLE = "SYNTH_OPS_STORE"
REPORTS_VARIABLE = "SYNTH_OPS_REPORTS_URL"
logger = logging.getLogger(__name__)

_Made = tuple[ArtifactRef, bool, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What one step did.

    Attributes:
        step: Its verb.
        ref: Its artifact.
        skipped: Whether the artifact was there already.
        seconds: Wall time.
        facts: Counts and names to show (rows a table, the generation, the report's path): never values.
    """

    step: str
    ref: ArtifactRef
    skipped: bool
    seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict)


def open_store(recipe: Recipe, root: str | os.PathLike[str] | None = None) -> Store:
    """The store to use: `root`, else the environment's `SYNTH_OPS_STORE`, else `.synth_ops` beside the recipe.

    Raises:
        ArtifactError: It can't be made or written.
    """
    return Store(root or os.environ.get(STORE_VARIABLE) or recipe.folder / ".synth_ops")


def run_step(
    recipe: Recipe,
    step: str,
    *,
    store: Store,
    needs: ArtifactRef | None = None,
    progress: ProgressListener | None = None,
) -> StepResult:
    """Run one step, or find that its artifact is there already.

    Args:
        step: `snapshot`, `fit`, `sample`, `gate` or `publish`.
        needs: The artifact of the step before; None for `snapshot`. `publish` takes the copy or its report, and looks
            up the verdict itself.
        progress: Told what is being worked on.

    Raises:
        GateFailedError: After the report was stored.
        SynthOpsError: Whatever else stops it.
    """
    if step not in _RUNNERS:
        raise RecipeError(f"there is no step {step!r}", f"steps: {', '.join(_RUNNERS)}")
    started = time.perf_counter()
    ref, skipped, facts = _on_the_ladder(recipe, step, store, needs, progress or _ignore)
    seconds = time.perf_counter() - started
    logger.info("%s %s %s in %.1f s", step, "found" if skipped else "made", ref.id, seconds)
    if not skipped:
        store.record("seconds", ref.id, name=step, entry={"seconds": round(seconds, 3)})
    if facts.get("verdict") == "failed":
        raise GateFailedError(
            f"the copy failed its gate: {facts['blocked_by']}{_instead(facts)}",
            f"see {facts['report']}",
            report_id=ref.id,
            facts=facts,
        )
    return StepResult(step=step, ref=ref, skipped=skipped, seconds=seconds, facts=facts)


def run_all(
    recipe: Recipe,
    *,
    store: Store,
    progress: ProgressListener | None = None,
    on_step: Callable[[StepResult], None] | None = None,
) -> list[StepResult]:
    """Run all five steps, each from the artifact of the one before.

    Args:
        progress: Told what is being worked on.
        on_step: Called after every step.

    Raises:
        SynthOpsError: Whatever stops it; what was live is live still.
    """
    results: list[StepResult] = []
    for step in STEPS:
        needs = results[-1].ref if results else None
        result = run_step(recipe, step.name, store=store, needs=needs, progress=progress)
        results.append(result)
        if on_step:
            on_step(result)
    return results


def _on_the_ladder(
    recipe: Recipe, step: str, store: Store, needs: ArtifactRef | None, progress: ProgressListener
) -> _Made:
    """What a step makes; where a generator fails it, what the next one makes that the recipe names, from `fit` on."""
    rungs = recipe.generators
    if step not in _LADDER or len(rungs) == 1:
        return _through(recipe, (step,), store, needs, progress, 0)
    place, snapshot, fell = _place(recipe, store, needs)
    made: _Made | None = None
    steps: Sequence[str] = (step,)
    given = needs
    while True:
        try:
            made = _through(recipe, steps, store, given, progress, place, fell)
            why = f"its copy failed the gate: {made[2]['blocked_by']}" if made[2].get("verdict") == "failed" else ""
        except SynthOpsError as error:
            if place + 1 == len(rungs) or not is_of_the_generator(error):
                raise
            why = error.message
        if made and (not why or place + 1 == len(rungs)):
            told = "; ".join(f"{each['generator']}: {each['why']}" for each in fell)
            return made[0], made[1], {**made[2], **({"instead_of": told} if told else {})}
        fell.append({"generator": ladder(recipe)[place].label, "why": why})
        logger.warning("%s failed, the next generator is tried: %s", fell[-1]["generator"], why)
        made, place = None, place + 1
        steps, given = _LADDER[: _LADDER.index(step) + 1], snapshot


def is_of_the_generator(error: SynthOpsError) -> bool:
    """Whether another generator may do better: a plug-in may raise anything."""
    return type(error) is SynthOpsError or isinstance(error, FitError | SampleError)


def has_another(recipe: Recipe, store: Store, model: ArtifactRef) -> bool:
    """Whether the recipe names a generator after the one that fitted a model."""
    return len(recipe.generators) > 1 and _place(recipe, store, model)[0] + 1 < len(recipe.generators)


def _through(
    recipe: Recipe,
    steps: Sequence[str],
    store: Store,
    given: ArtifactRef | None,
    progress: ProgressListener,
    rung: int,
    fell: Sequence[Mapping[str, Any]] = (),
) -> _Made:
    """What the last of some steps makes.

    Args:
        rung: Which of the recipe's generators learns.
        fell: Those that failed before it, and why: the report says so.
    """
    for step in steps:
        with nothing_unforeseen():
            made = (
                _fit(recipe, store, given, progress, rung)
                if step == "fit"
                else _RUNNERS[step](recipe, store, given, progress)
            )
        given = made[0]
        store.remember(*_latest_key(recipe, given.kind), ref=given)
        if step == "fit":
            for number, each in enumerate(fell):
                store.record("fell", recipe.generators, given.id, name=str(number), entry=each)
    return made


def _place(
    recipe: Recipe, store: Store, needs: ArtifactRef | None
) -> tuple[int, ArtifactRef | None, list[dict[str, Any]]]:
    """Which of a recipe's generators made what a step goes on with, what that learned from, and those that failed."""
    if needs is None or needs.kind is ArtifactKind.SNAPSHOT:
        return 0, needs, []
    body = store.facts(needs)
    model = ArtifactRef.from_json(body["model"]) if needs.kind is ArtifactKind.COPY else needs
    made_by, rungs = _choice_of(store, model), ladder(recipe)
    place = rungs.index(made_by) if made_by in rungs else len(rungs) - 1
    fell = store.recorded("fell", recipe.generators, model.id, last=len(rungs))
    return place, ArtifactRef.from_json(body["snapshot"]), fell


def _instead(facts: Mapping[str, Any]) -> str:
    return f"; before it failed {facts['instead_of']}" if "instead_of" in facts else ""


@contextlib.contextmanager
def nothing_unforeseen() -> Iterator[None]:
    """An orchestrator logs what it catches, and the text of an error that nobody foresaw may hold values."""
    try:
        yield
    except SynthOpsError:
        raise
    except Exception as error:  # noqa: BLE001
        refuse_interruption(error)
        raise unforeseen(error) from None


def latest(recipe: Recipe, kind: ArtifactKind, *, store: Store) -> ArtifactRef:
    """The artifact of a kind that this recipe's steps made or found last.

    Raises:
        ArtifactNotFoundError: None yet.
    """
    found = store.recall(*_latest_key(recipe, kind))
    if found is None:
        raise ArtifactNotFoundError(f"this recipe has no {kind} in the store yet", "run the step that makes it first")
    return found


def preflight(recipe: Recipe, *, store: Store) -> dict[str, Any]:
    """Find out before the night what would stop it: plug-ins, settings, suites, the source's reach, the target's place.

    Returns:
        The package's version, and the names of the plug-ins that the recipe uses.

    Raises:
        ConfigError: Naming the first that can't be.
        SourceError: The source can't be read now.
        PublishError: The target can't be read now, or must not be written.
    """
    generators = {each.label: _generator(each.name, each.settings).version for each in ladder(recipe)}
    gate = _assemble_gate(recipe, store)
    open_target(recipe).generations()
    open_source(recipe).state()
    with store.scratch():  # it can be written; what killed runs left there goes
        pass
    return {
        "version": __version__,
        "source": recipe.source_location().label,
        "target": recipe.target_location().label,
        "generator": ", else ".join(f"{label} {version}" for label, version in generators.items()),
        "licences": licences(recipe),
        "checks": sorted(gate.checks),
    }


def licences(recipe: Recipe) -> list[str]:
    """What a user must know of the licences of the generators that a recipe names, a line each."""
    named = [(name, settings) for name, settings in recipe.generators]
    named += [each.generator_named for each in recipe.tables.values() if each.generator_named]
    found = {name: getattr(_generator(name, settings), "licence", "") for name, settings in named}
    return [f"{name} is under a licence of its own: {licence}" for name, licence in found.items() if licence]


def tidy(store: Store, snapshot: ArtifactRef | None = None) -> None:
    """Remove what killed runs left in the store, and a snapshot that need not stay.

    Without its snapshot a copy can't be judged again, and the next run reads the source again.
    """
    with store.scratch():
        pass  # abandoned folders go when one is made
    if snapshot:
        store.delete(snapshot)


def report_url(store: Store, report: ArtifactRef) -> str:
    """Where people read a report.

    Returns:
        An address below the environment's `SYNTH_OPS_REPORTS_URL`, which serves the store's folder `report`, or else
        that of the file in the store.
    """
    from synth_ops.artifact_io import REPORT_FILE

    served = os.environ.get(REPORTS_VARIABLE, "").rstrip("/")
    if served:
        return f"{served}/{report.id}/{REPORT_FILE}"
    return (store.root / report.kind.value / report.id / REPORT_FILE).as_uri()


def latest_report(recipe: Recipe, *, store: Store) -> tuple[GateReport, dict[str, Any], Context]:
    """The latest verdict, the report's document, and what is known around it by now, the publication included.

    Raises:
        ArtifactNotFoundError: No copy was judged yet.
    """
    from synth_ops.report import recall_report

    report = latest(recipe, ArtifactKind.REPORT, store=store)
    publication = store.recall(*_latest_key(recipe, ArtifactKind.PUBLICATION))
    return recall_report(recipe, store, report, publication)


def known_tables(recipe: Recipe, store: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
    """The tables that a recipe's copies have, as far as is known without reading the source.

    Returns:
        Those of its latest snapshot in the store; before the first one, those that the recipe names.
    """
    try:
        opened = open_store(recipe, store)
        tables = opened.facts(latest(recipe, ArtifactKind.SNAPSHOT, store=opened))["tables"]
    except SynthOpsError:  # no store yet, or a source that is known only when it runs
        return tuple(name for name, table in recipe.tables.items() if not table.exclude)
    return tuple(tables)


def _latest_key(recipe: Recipe, kind: ArtifactKind) -> tuple[object, ...]:
    """Everything in a recipe that an artifact of this kind depends on: another recipe's is not this one's."""
    shaping = ["tables", "subset"]
    if kind is not ArtifactKind.SNAPSHOT:
        shaping += ["generator", "generator_settings", "fit"]
    if kind not in (ArtifactKind.SNAPSHOT, ArtifactKind.MODEL):
        shaping += ["seed", "scale"]
    if kind in (ArtifactKind.REPORT, ArtifactKind.PUBLICATION):
        shaping += ["gate"]
    unread = {"tables": {"__all__": {"generator"}}} if kind is ArtifactKind.SNAPSHOT else None
    document = recipe.model_dump(mode="json", include=set(shaping), exclude=unread)
    return ("latest", kind.value, recipe.source_location().identity, recipe.target_location().identity, document)


def table_makers(recipe: Recipe, snapshot: Snapshot) -> list[tuple[str, Mapping[str, str]]]:
    """The generators of a recipe, the first choice first, and who makes the columns of each table.

    Returns:
        For each its label, and a generator's name by table; none where it makes all tables alike.

    Raises:
        ConfigError: One does not exist, or can't do what the recipe asks of it.
    """
    found = []
    for each in ladder(recipe):
        generator = _generator(each.name, each.settings)
        if isinstance(generator, ChoosyGenerator) and (problems := generator.problems(snapshot)):
            raise RecipeError("; ".join(problems), "name another `generator`: relational_trees takes any schema")
        found.append((each.label, generator.makers(snapshot) if isinstance(generator, ComposedGenerator) else {}))
    return found


def try_gate(recipe: Recipe, *, store: Store, progress: ProgressListener | None = None) -> list[Trial]:
    """Try the recipe's gate on its own data: fresh real people have to pass, and every planted fault is blocked.

    Takes the snapshot if need be; the target is not looked at, and nothing of the controls stays in the store.

    Raises:
        SourceError: The snapshot can't be taken.
        RecipeError: The source has too few subjects.
    """
    from synth_ops.artifact_io import read_snapshot
    from synth_ops.controls import run_controls

    told = progress or _ignore
    snapshot = read_snapshot(store, run_step(recipe, "snapshot", store=store, progress=told).ref)
    with nothing_unforeseen():
        return run_controls(snapshot, _assemble_gate(recipe, store), store=store, seed=recipe.seed, progress=told)


def export_suites(
    recipe: Recipe, folder: Path, *, store: Store, progress: ProgressListener | None = None
) -> list[Path]:
    """Write the integrity suite of every table and the limits of all measures as Great Expectations suite files.

    Raises:
        SourceError: The snapshot that it follows from can't be taken.
    """
    from synth_ops.artifact_io import read_snapshot
    from synth_ops.checks.integrity import export_suites as export
    from synth_ops.checks.measure_suite import export_limits

    snapshot = run_step(recipe, "snapshot", store=store, progress=progress).ref
    gate = _assemble_gate(recipe, store)
    limits = {**_thresholds(gate.checks), **gate.thresholds}
    return [*export(read_snapshot(store, snapshot), folder, scale=recipe.scale), export_limits(limits, folder)]


def _snapshot(recipe: Recipe, store: Store, _: ArtifactRef | None, progress: ProgressListener) -> _Made:
    from synth_ops.artifact_io import read_snapshot
    from synth_ops.steps.drift import changes
    from synth_ops.steps.snapshot import take_snapshot

    refuse_same_database(recipe, open_target(recipe))  # refused before any work is done
    # whatever the recipe said by then: a change of the schema is one
    schema_key = ("schema", recipe.source_location().identity, recipe.target_location().identity)
    known = store.recall(*schema_key)
    before = read_snapshot(store, known).metadata if known and store.exists(known) else None
    ref, skipped = take_snapshot(recipe, open_source(recipe), store=store, progress=progress, before=before)
    store.remember(*schema_key, ref=ref)
    body = store.read(ref).body
    drift = changes(before, read_snapshot(store, ref).metadata) if before and known != ref else []
    told = [f"since the snapshot before, {change.line}" for change in drift]
    return ref, skipped, {"tables": _rows(body), "warnings": [*told, *body["warnings"]]}


def _fit(recipe: Recipe, store: Store, needs: ArtifactRef | None, progress: ProgressListener, rung: int = 0) -> _Made:
    from synth_ops.steps.fit import fit

    snapshot = required(store, needs, ArtifactKind.SNAPSHOT)
    will_do = _model_that_will_do(recipe, store, snapshot) if recipe.refit is Refit.ON_DRIFT and not rung else None
    if will_do:
        label = _choice_of(store, will_do).label
        return will_do, True, {"generator": label, "source": "stands still: the last model stays"}
    chosen = ladder(recipe)[rung]
    ref, skipped = fit(
        snapshot,
        _generator(chosen.name, chosen.settings),
        name=chosen.name,
        settings=chosen.settings,
        store=store,
        progress=progress,
        previous=store.recall(*_latest_key(recipe, ArtifactKind.MODEL)),
    )
    return ref, skipped, {"generator": chosen.label}


def _choice_of(store: Store, model: ArtifactRef) -> Choice:
    """The generator that a model was fitted by."""
    body = store.facts(model)
    return Choice(name=body["generator"], settings=body["settings"])


def _model_that_will_do(recipe: Recipe, store: Store, snapshot: ArtifactRef) -> ArtifactRef | None:
    """The recipe's last model, if the source stands still since and the same generator would learn it again."""
    from synth_ops.report import stands_still

    model = store.recall(*_latest_key(recipe, ArtifactKind.MODEL))
    if model is None:
        return None
    stored, generator = store.read(model), _choice_of(store, model)
    version = _generator(generator.name, generator.settings).version
    same = stored.version == __version__ and stored.body["generator_version"] == version
    return model if same and stands_still(store, ArtifactRef.from_json(stored.body["snapshot"]), snapshot) else None


def _sample(recipe: Recipe, store: Store, needs: ArtifactRef | None, progress: ProgressListener) -> _Made:
    from synth_ops.steps.sample import assemble, sample

    model = required(store, needs, ArtifactKind.MODEL)
    drawn = _drawn_shards(recipe, store, model)
    if drawn:
        ref, skipped = assemble(model, len(drawn), seed=recipe.seed, scale=recipe.scale, store=store)
        for shard in drawn:
            store.delete(shard)  # the copy holds them
    else:
        generator = _generator_of(store, model)
        ref, skipped = sample(model, generator, seed=recipe.seed, scale=recipe.scale, store=store, progress=progress)
    return ref, skipped, {"tables": _rows(store.read(ref).body)}


def _drawn_shards(recipe: Recipe, store: Store, model: ArtifactRef) -> list[ArtifactRef]:
    """All shards of the copy that a recipe asks for, if they were drawn apart; none otherwise."""
    from synth_ops.steps.shards import shard_ref

    if not store.exists(shard_ref(model, 0, seed=recipe.seed, scale=recipe.scale)):
        return []
    fitted = sharded(store, model)
    count = fitted.shards(recipe.scale) if fitted else 0
    shards = [shard_ref(model, shard, seed=recipe.seed, scale=recipe.scale) for shard in range(count)]
    return shards if all(store.exists(shard) for shard in shards) else []


def sharded(store: Store, model: ArtifactRef) -> ShardedGenerator | None:
    """A fitted model whose copies can be drawn in parts; None for one whose copies can't."""
    from synth_ops.artifact_io import read_metadata, read_model

    fitted = _generator_of(store, model).load(read_model(store, model).path, read_metadata(store, model))
    return fitted if isinstance(fitted, ShardedGenerator) else None


def _generator_of(store: Store, model: ArtifactRef) -> Any:
    """The generator that fitted a model, of the same version."""
    body = store.facts(model)
    generator = _generator(body["generator"], body["settings"])
    if generator.version != body["generator_version"]:
        raise ArtifactVersionError(
            f"model {model.id} was fitted by {body['generator']} {body['generator_version']}; "
            f"this worker has {generator.version}",
            "install one version on all workers, or fit again",
        )
    return generator


def _gate(recipe: Recipe, store: Store, needs: ArtifactRef | None, progress: ProgressListener) -> _Made:
    from synth_ops.report import moved_checks, recall_report
    from synth_ops.steps.gate import gate
    from synth_ops.verdict import summary

    report, skipped = gate(
        required(store, needs, ArtifactKind.COPY), _assemble_gate(recipe, store), store=store, progress=progress
    )
    _, document, context = recall_report(recipe, store, report.ref)
    facts = {
        **summary(report),
        "moved": moved_checks(document, context),
        "report": str(report.html),
        "copy": report.copy.id,
    }
    return report.ref, skipped, facts


def _publish(recipe: Recipe, store: Store, needs: ArtifactRef | None, progress: ProgressListener) -> _Made:
    from synth_ops.artifact_io import REPORT_FILE
    from synth_ops.report import write_published_page
    from synth_ops.steps.publish import publish

    report, target = judged(recipe, store, needs)
    ref, generation, skipped = publish(
        report,
        target,
        source=recipe.source_location(),
        destination=recipe.target_location(),
        keep=recipe.publish.keep_generations,
        store=store,
        progress=progress,
        write_page=partial(write_published_page, recipe=recipe, store=store),
    )
    page = store.read(ref).path / REPORT_FILE
    facts = {
        **({"report": str(page)} if page.is_file() else {}),
        "generation": generation.number,
        "published_at": generation.published_at,
        "tables": dict(generation.tables),
    }
    return ref, skipped, {**facts, "target": recipe.target_location().label, "copy": generation.copy}


def judged(recipe: Recipe, store: Store, needs: ArtifactRef | None) -> tuple[ArtifactRef, Target]:
    """The report that the recipe's own gate makes of a copy, whether it is there or not, and the target."""
    from synth_ops.artifact_io import read_report

    given = required(store, needs, ArtifactKind.REPORT, ArtifactKind.COPY)
    target = open_target(recipe)
    refuse_same_database(recipe, target)
    copy = given if given.kind is ArtifactKind.COPY else read_report(store, given).copy
    return _assemble_gate(recipe, store).ref(copy), target


_RUNNERS: Mapping[str, Callable[[Recipe, Store, ArtifactRef | None, ProgressListener], _Made]] = {
    "snapshot": _snapshot,
    "fit": _fit,
    "sample": _sample,
    "gate": _gate,
    "publish": _publish,
}


_LOOK_AT_THE_TARGET = ("fidelity", "integrity")


def _assemble_gate(recipe: Recipe, store: Store) -> Any:
    from synth_ops.checks.engine import judge
    from synth_ops.checks.integrity import load_suites
    from synth_ops.checks.measure_suite import split_off_limits
    from synth_ops.checks.queries import load_queries
    from synth_ops.report import write_nightly_report
    from synth_ops.steps.gate import Gate
    from synth_ops.steps.thresholds import resolve

    # those that look at the copy in the target come last: while it is open, nobody else can publish there
    asked = sorted(chosen(PluginKind.CHECK, recipe.gate.also), key=lambda name: (name in _LOOK_AT_THE_TARGET, name))
    checks = {name: load(PluginKind.CHECK, name)() for name in asked}
    suites, edited = split_off_limits(load_suites([recipe.folder / path for path in recipe.gate.suites]))
    target, source = open_target(recipe), open_source(recipe)
    shown = target if recipe.gate.stage and isinstance(target, ShowingTarget) else None
    return Gate(
        checks=checks,
        judge=judge,
        thresholds=resolve(_thresholds(checks), recipe.gate, edited),
        suites=suites,
        write_report=partial(write_nightly_report, recipe=recipe, store=store),
        generator=_generator,
        policy=recipe.gate.policy,
        reason=recipe.gate.reason,
        labels=recipe.gate.labels,
        queries=load_queries([recipe.folder / path for path in recipe.gate.queries]),
        timeout_s=recipe.gate.check_timeout_s,
        show=shown.show if shown else None,
        source_shapes=source.plan_shapes if shown and isinstance(source, PlanningSource) else None,
    )


def _thresholds(checks: Mapping[str, Any]) -> dict[str, Threshold]:
    """Of every measure that there is."""
    return {name: threshold for check in checks.values() for name, threshold in check.thresholds.items()}


def _generator(name: str, settings: Mapping[str, Any]) -> Any:
    from synth_ops.worker import open_generator

    return open_generator(name, settings)


def required(store: Store, ref: ArtifactRef | None, *kinds: ArtifactKind) -> ArtifactRef:
    """What a step goes on with, if it is of the right kind, and this very version made it.

    Raises:
        RecipeError: It is of another kind.
        ArtifactVersionError: Another version of the package made it.
    """
    if ref is None or ref.kind not in kinds:
        wanted = " or ".join(kinds)
        raise RecipeError(
            f"this step needs a {wanted}, not {ref.kind if ref else 'nothing'}", "run the step before first"
        )
    made_by = store.read(ref).version
    if made_by != __version__:  # another version would give another artifact the same id, or another id to the same
        raise ArtifactVersionError(
            f"{ref.kind} {ref.id} was made by synth_ops {made_by}; this worker has {__version__}",
            "install one version on all workers, or run the steps before again",
        )
    return ref


def _rows(body: Mapping[str, Any]) -> dict[str, int]:
    return {name: entry["rows"] for name, entry in body["tables"].items()}


def _ignore(_: Progress) -> None:
    """Nobody is watching."""
