"""What users ask for: one step, all of them, and what is known of them by now."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth_ops import __version__
from synth_ops.artifacts import ArtifactKind, ArtifactRef, GateReport, Snapshot
from synth_ops.choice import ladder
from synth_ops.endpoints import open_source, open_target
from synth_ops.errors import ArtifactNotFoundError, GateFailedError, RecipeError, SynthOpsError
from synth_ops.fallback import nothing_unforeseen, run_on_the_ladder
from synth_ops.plan import STEPS
from synth_ops.ports import ChoosyGenerator, ComposedGenerator, Progress, ProgressListener
from synth_ops.recipe import Recipe
from synth_ops.runners import RUNNERS, assemble_gate, generator_named, latest_key, thresholds_of
from synth_ops.store import Store

if TYPE_CHECKING:
    from synth_ops.controls import Trial
    from synth_ops.report import Context

STORE_VARIABLE = "SYNTH_OPS_STORE"
REPORTS_VARIABLE = "SYNTH_OPS_REPORTS_URL"
logger = logging.getLogger(__name__)


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
    if step not in RUNNERS:
        raise RecipeError(f"there is no step {step!r}", f"steps: {', '.join(RUNNERS)}")
    started = time.perf_counter()
    ref, skipped, facts = run_on_the_ladder(recipe, step, store, needs, progress or _ignore)
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


def _instead(facts: Mapping[str, Any]) -> str:
    return f"; before it failed {facts['instead_of']}" if "instead_of" in facts else ""


def latest(recipe: Recipe, kind: ArtifactKind, *, store: Store) -> ArtifactRef:
    """The artifact of a kind that this recipe's steps made or found last.

    Raises:
        ArtifactNotFoundError: None yet.
    """
    found = store.recall(*latest_key(recipe, kind))
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
    generators = {each.label: generator_named(each.name, each.settings).version for each in ladder(recipe)}
    gate = assemble_gate(recipe, store)
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
    found = {name: getattr(generator_named(name, settings), "licence", "") for name, settings in named}
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
    publication = store.recall(*latest_key(recipe, ArtifactKind.PUBLICATION))
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


def table_makers(recipe: Recipe, snapshot: Snapshot) -> list[tuple[str, Mapping[str, str]]]:
    """The generators of a recipe, the first choice first, and who makes the columns of each table.

    Returns:
        For each its label, and a generator's name by table; none where it makes all tables alike.

    Raises:
        ConfigError: One does not exist, or can't do what the recipe asks of it.
    """
    found = []
    for each in ladder(recipe):
        generator = generator_named(each.name, each.settings)
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
        return run_controls(snapshot, assemble_gate(recipe, store), store=store, seed=recipe.seed, progress=told)


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
    gate = assemble_gate(recipe, store)
    limits = {**thresholds_of(gate.checks), **gate.thresholds}
    return [*export(read_snapshot(store, snapshot), folder, scale=recipe.scale), export_limits(limits, folder)]


def _ignore(_: Progress) -> None:
    """Nobody is watching."""
