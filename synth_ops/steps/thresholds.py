"""Which limits hold: each measure's own, as the policy, the exported file and the recipe change them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from synth_ops.errors import RecipeError
from synth_ops.metadata import did_you_mean
from synth_ops.ports import Threshold
from synth_ops.recipe import GateRecipe, Policy

_PRIVACY = "privacy."
_LEVELS = ("warn", "block")


def resolve(
    defaults: Mapping[str, Threshold], recipe: GateRecipe, edited: Mapping[str, Mapping[str, float]]
) -> dict[str, Threshold]:
    """The thresholds that differ from the defaults.

    Args:
        defaults: Of every measure that there is.
        recipe: The policy, the reason, and single limits.
        edited: Limits from an exported and edited file: by measure, then by level (`warn`, `block`).

    Raises:
        RecipeError: A limit names no measure; limits contradict each other; one is laxer than the policy's, or the
            policy is, and there is no reason. Every problem is named.
    """
    base = {name: _under(recipe.policy, name, threshold) for name, threshold in defaults.items()}
    wanted, problems = _wanted(defaults, recipe, edited)
    resolved = {
        name: replace(base[name], warn=levels.get("warn", base[name].warn), block=levels.get("block", base[name].block))
        for name, levels in wanted.items()
    }
    for name, threshold in resolved.items():
        problems += _contradictions(name, threshold, wanted[name])
        resolved[name] = _in_order(threshold)
    laxer = [name for name, each in resolved.items() if _is_laxer(each, base[name], wanted[name])]
    if recipe.policy is Policy.OFF_FOR_PRIVACY:
        laxer.insert(0, f"policy {recipe.policy.value}")
    if laxer and not recipe.reason.strip():
        problems.append(f"laxer than the standard, without a reason: {', '.join(laxer)}")
    if problems:
        raise RecipeError(
            f"gate: {'; '.join(problems)}",
            "stricter limits need no word; for laxer ones say why in `gate.reason`, which the report prints",
        )
    return {name: each for name, each in {**base, **resolved}.items() if each != defaults[name]}


def _wanted(
    defaults: Mapping[str, Threshold], recipe: GateRecipe, edited: Mapping[str, Mapping[str, float]]
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Every limit that somebody wrote, by measure and level, and what is wrong with these."""
    wanted: dict[str, dict[str, float]] = {}
    problems: list[str] = []
    for name, level, limit in _written(defaults, recipe, edited):
        if name not in defaults:
            problems.append(f"there is no measure {name!r}{did_you_mean(name, defaults)}")
        elif wanted.setdefault(name, {}).setdefault(level, limit) != limit:
            problems.append(f"{name!r} has two different limits to {level} at, in the recipe and in a suite")
    return wanted, list(dict.fromkeys(problems))


def _written(
    defaults: Mapping[str, Threshold], recipe: GateRecipe, edited: Mapping[str, Mapping[str, float]]
) -> Iterator[tuple[str, str, float]]:
    for name, limit in recipe.thresholds.items():
        blocks = name not in defaults or defaults[name].block is not None
        yield name, "block" if blocks else "warn", limit
    for name, limit in recipe.warnings.items():
        yield name, "warn", limit
    for name, levels in edited.items():
        for level, limit in levels.items():
            default = defaults.get(name)
            if default is None or getattr(default, level) != limit:
                yield name, level, limit


def _under(policy: Policy, name: str, threshold: Threshold) -> Threshold:
    """What a policy makes of a default: `strict` blocks where the standard warns."""
    if policy is Policy.STRICT:
        return replace(threshold, block=_stricter(threshold))
    if policy is Policy.OFF_FOR_PRIVACY and name.startswith(_PRIVACY):
        return replace(threshold, warn=_stricter(threshold), block=None)
    return threshold


def _stricter(threshold: Threshold) -> float | None:
    return threshold.warn if threshold.is_stricter(threshold.warn, threshold.block) else threshold.block


def _contradictions(name: str, threshold: Threshold, written: Mapping[str, float]) -> list[str]:
    if set(written) == set(_LEVELS) and threshold.is_stricter(threshold.block, threshold.warn):
        return [f"{name!r} would block before it warns"]
    return []


def _in_order(threshold: Threshold) -> Threshold:
    """What blocks earlier than it warned warns there, too."""
    if threshold.warn is not None and threshold.is_stricter(threshold.block, threshold.warn):
        return replace(threshold, warn=threshold.block)
    return threshold


def _is_laxer(threshold: Threshold, base: Threshold, written: Mapping[str, float]) -> bool:
    return any(base.is_stricter(getattr(base, level), getattr(threshold, level)) for level in written)
