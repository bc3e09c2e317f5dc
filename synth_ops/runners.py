"""How each step is run: with the plug-ins and settings that the recipe names, from the artifact of the step before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from synth_ops import __version__
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.choice import Choice, ladder
from synth_ops.endpoints import open_source, open_target, refuse_same_database
from synth_ops.errors import ArtifactVersionError, RecipeError
from synth_ops.ports import PlanningSource, ProgressListener, ShardedGenerator, ShowingTarget, Target, Threshold
from synth_ops.recipe import Recipe, Refit
from synth_ops.registry import PluginKind, chosen, load
from synth_ops.store import Store

Made = tuple[ArtifactRef, bool, dict[str, Any]]
"""An artifact, whether it was there already, and counts and names to show."""
_LOOK_AT_THE_TARGET = ("fidelity", "integrity")


def _snapshot(recipe: Recipe, store: Store, _: ArtifactRef | None, progress: ProgressListener) -> Made:
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


def run_fit(recipe: Recipe, store: Store, needs: ArtifactRef | None, progress: ProgressListener, rung: int = 0) -> Made:
    """Fit the generator of one rung of the recipe's ladder, the first choice being 0."""
    from synth_ops.steps.fit import fit

    snapshot = required(store, needs, ArtifactKind.SNAPSHOT)
    will_do = _model_that_will_do(recipe, store, snapshot) if recipe.refit is Refit.ON_DRIFT and not rung else None
    if will_do:
        label = choice_of(store, will_do).label
        return will_do, True, {"generator": label, "source": "stands still: the last model stays"}
    choice = ladder(recipe)[rung]
    ref, skipped = fit(
        snapshot,
        generator_named(choice.name, choice.settings),
        name=choice.name,
        settings=choice.settings,
        store=store,
        progress=progress,
        previous=store.recall(*latest_key(recipe, ArtifactKind.MODEL)),
    )
    return ref, skipped, {"generator": choice.label}


def _model_that_will_do(recipe: Recipe, store: Store, snapshot: ArtifactRef) -> ArtifactRef | None:
    """The recipe's last model, if the source stands still since and the same generator would learn it again."""
    from synth_ops.report import stands_still

    model = store.recall(*latest_key(recipe, ArtifactKind.MODEL))
    if model is None:
        return None
    stored, generator = store.read(model), choice_of(store, model)
    version = generator_named(generator.name, generator.settings).version
    same = stored.version == __version__ and stored.body["generator_version"] == version
    return model if same and stands_still(store, ArtifactRef.from_json(stored.body["snapshot"]), snapshot) else None


def _sample(recipe: Recipe, store: Store, needs: ArtifactRef | None, progress: ProgressListener) -> Made:
    from synth_ops.steps.sample import assemble, sample

    model = required(store, needs, ArtifactKind.MODEL)
    drawn = _drawn_shards(recipe, store, model)
    if drawn:
        ref, skipped = assemble(model, len(drawn), seed=recipe.seed, scale=recipe.scale, store=store)
        for shard in drawn:
            store.delete(shard)  # the copy holds them
    else:
        generator = generator_of(store, model)
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


def _gate(recipe: Recipe, store: Store, needs: ArtifactRef | None, progress: ProgressListener) -> Made:
    from synth_ops.report import moved_checks, recall_report
    from synth_ops.steps.gate import gate
    from synth_ops.verdict import summary

    report, skipped = gate(
        required(store, needs, ArtifactKind.COPY), assemble_gate(recipe, store), store=store, progress=progress
    )
    _, document, context = recall_report(recipe, store, report.ref)
    facts = {
        **summary(report),
        "moved": moved_checks(document, context),
        "report": str(report.html),
        "copy": report.copy.id,
    }
    return report.ref, skipped, facts


def _publish(recipe: Recipe, store: Store, needs: ArtifactRef | None, progress: ProgressListener) -> Made:
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


RUNNERS: Mapping[str, Callable[[Recipe, Store, ArtifactRef | None, ProgressListener], Made]] = {
    "snapshot": _snapshot,
    "fit": run_fit,
    "sample": _sample,
    "gate": _gate,
    "publish": _publish,
}
"""By the step's verb."""


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


def judged(recipe: Recipe, store: Store, needs: ArtifactRef | None) -> tuple[ArtifactRef, Target]:
    """The report that the recipe's own gate makes of a copy, whether it is there or not, and the target."""
    from synth_ops.artifact_io import read_report

    given = required(store, needs, ArtifactKind.REPORT, ArtifactKind.COPY)
    target = open_target(recipe)
    refuse_same_database(recipe, target)
    copy = given if given.kind is ArtifactKind.COPY else read_report(store, given).copy
    return assemble_gate(recipe, store).ref(copy), target


def latest_key(recipe: Recipe, kind: ArtifactKind) -> tuple[object, ...]:
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


def generator_named(name: str, settings: Mapping[str, Any]) -> Any:
    """A generator by its name, with its settings: here, or in its own interpreter."""
    from synth_ops.worker import open_generator

    return open_generator(name, settings)


def generator_of(store: Store, model: ArtifactRef) -> Any:
    """The generator that fitted a model, of the same version."""
    body = store.facts(model)
    generator = generator_named(body["generator"], body["settings"])
    if generator.version != body["generator_version"]:
        raise ArtifactVersionError(
            f"model {model.id} was fitted by {body['generator']} {body['generator_version']}; "
            f"this worker has {generator.version}",
            "install one version on all workers, or fit again",
        )
    return generator


def choice_of(store: Store, model: ArtifactRef) -> Choice:
    """The generator that a model was fitted by."""
    body = store.facts(model)
    return Choice(name=body["generator"], settings=body["settings"])


def sharded(store: Store, model: ArtifactRef) -> ShardedGenerator | None:
    """A fitted model whose copies can be drawn in parts; None for one whose copies can't."""
    from synth_ops.artifact_io import read_metadata, read_model

    fitted = generator_of(store, model).load(read_model(store, model).path, read_metadata(store, model))
    return fitted if isinstance(fitted, ShardedGenerator) else None


def assemble_gate(recipe: Recipe, store: Store) -> Any:
    """The gate as the recipe has it: checks, limits, users' suites and queries, and where the copy can be looked at."""
    from synth_ops.checks.engine import judge
    from synth_ops.checks.integrity import load_suites
    from synth_ops.checks.measure_suite import split_off_limits
    from synth_ops.checks.python_suites import build_suites
    from synth_ops.checks.queries import load_queries
    from synth_ops.report import write_nightly_report
    from synth_ops.steps.gate import Gate
    from synth_ops.steps.thresholds import resolve

    # those that look at the copy in the target come last: while it is open, nobody else can publish there
    asked = sorted(chosen(PluginKind.CHECK, recipe.gate.also), key=lambda name: (name in _LOOK_AT_THE_TARGET, name))
    checks = {name: load(PluginKind.CHECK, name)() for name in asked}
    files = load_suites([recipe.folder / path for path in recipe.gate.suites])
    suites, edited = split_off_limits({**files, **build_suites(recipe.gate.python_suites)})
    target, source = open_target(recipe), open_source(recipe)
    shown = target if recipe.gate.stage and isinstance(target, ShowingTarget) else None
    return Gate(
        checks=checks,
        judge=judge,
        thresholds=resolve(thresholds_of(checks), recipe.gate, edited),
        suites=suites,
        write_report=partial(write_nightly_report, recipe=recipe, store=store),
        generator=generator_named,
        policy=recipe.gate.policy,
        reason=recipe.gate.reason,
        labels=recipe.gate.labels,
        queries=load_queries([recipe.folder / path for path in recipe.gate.queries]),
        timeout_s=recipe.gate.check_timeout_s,
        show=shown.show if shown else None,
        source_shapes=source.plan_shapes if shown and isinstance(source, PlanningSource) else None,
    )


def thresholds_of(checks: Mapping[str, Any]) -> dict[str, Threshold]:
    """Of every measure that there is."""
    return {name: threshold for check in checks.values() for name, threshold in check.thresholds.items()}


def _rows(body: Mapping[str, Any]) -> dict[str, int]:
    return {name: entry["rows"] for name, entry in body["tables"].items()}
