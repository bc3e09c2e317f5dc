"""Whether the copy tells something about those whom its model learned from, and not about others: P6 and P7."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from synth_ops import sql
from synth_ops.artifacts import Basis, Evidence, Severity
from synth_ops.checks.limits import judged
from synth_ops.checks.memorisation import AUDIT, HOLDOUT, TRAIN
from synth_ops.checks.nearest import nearest
from synth_ops.checks.rows import Databases, Rows
from synth_ops.checks.statistics import Estimate, share_difference
from synth_ops.checks.views import failed, view_sql
from synth_ops.metadata import Kind, Table
from synth_ops.ports import Threshold

INFERENCE = "privacy.attribute_inference"
_REPLICATED, _DISCLOSED = "privacy.replicated_uniques", "privacy.disclosed_attributes"
INFERENCE_LIMITS: Mapping[str, Threshold] = {
    INFERENCE: Threshold(warn=0.05, block=0.10),
    _REPLICATED: Threshold(warn=0.01, block=0.03),
    _DISCLOSED: Threshold(warn=0.01, block=0.03),
}
_MADE_UP = (Kind.TEXT, Kind.PII, Kind.MEDIA)
_MOST_TARGETS = 4_000
_NEAR = 0.025
"""A number counts as guessed within 2.5 % of the ranks on either side."""


def attribute_inference(
    databases: Databases, table: Table, root: str, limits: Mapping[str, Threshold]
) -> Iterator[Evidence]:
    """P6: guess each sensitive column of a person from the copy's most similar row.

    The attacker knows the quasi-identifiers of the table or, where none is declared, all other columns. What can be
    guessed about others just as well is statistics, not a leak: (main - control) / (1 - control), as in Anonymeter
    (Giomi et al., 2023). A column that can't be guessed or measured so is told of, unless its values are made up.
    """
    rows = databases.rows(table.name, root)
    known = {column.name for column in table.columns if column.quasi_identifier}
    for column in table.columns:
        if not column.sensitive or column.kind in _MADE_UP:
            continue
        subject = f"{table.name}.{column.name}"
        used = np.array([name != column.name and (not known or name in known) for name in rows.names], dtype=bool)
        if column.name not in rows.names or not used.any():
            reason = "no learned column tells of it" if column.name in rows.names else "it is not a learned column"
            yield failed(check=INFERENCE, subject=subject, table=table.name, reason=reason, severity=Severity.WARNING)
            continue
        hits, totals = _guessed(rows, rows.names.index(column.name), used)
        if not all(totals.values()):
            reason = (
                "one half of the subjects has no value of it" if any(totals.values()) else "nobody has a value of it"
            )
            severity = Severity.CRITICAL if any(totals.values()) else Severity.WARNING
            yield failed(check=INFERENCE, subject=subject, table=table.name, reason=reason, severity=severity)
            continue
        main, control = (hits[side] / totals[side] for side in (TRAIN, HOLDOUT))
        difference = share_difference(hits[TRAIN], totals[TRAIN], hits[HOLDOUT], totals[HOLDOUT])
        scale = max(1 - control, 0.05)
        estimate = Estimate(value=difference.value / scale, noise=difference.noise / scale, n=difference.n)
        detail = f"guessed right from the most similar row: {main:.1%} of those learned from, {control:.1%} of others"
        yield from judged(
            _evidence(INFERENCE, table, subject, estimate, detail), limits[INFERENCE], noise=estimate.noise
        )


def identity_disclosure(databases: Databases, table: Table, limits: Mapping[str, Threshold]) -> Iterator[Evidence]:
    """P7: how many people whom the quasi-identifiers single out come back, and with the right sensitive values.

    Unique and replicated, disclosive and correct (Raab, Nowok and Dibben, synthpop 2024); minus the others' own rate.
    """
    known = [column for column in table.columns if column.quasi_identifier]
    if not known:
        return
    key = f"hash({sql.columns_sql([column.name for column in known])})"
    names = f"{table.name}({', '.join(column.name for column in known)})"
    copied = f"SELECT DISTINCT {key} FROM {view_sql(AUDIT, table.name)}"
    found = {}
    for side in (TRAIN, HOLDOUT):
        groups = f"SELECT {key} AS k, count(*) AS n FROM {view_sql(side, table.name)} GROUP BY 1"
        query = f"SELECT coalesce(sum(n), 0), count(*) FILTER (WHERE n = 1 AND k IN ({copied})) FROM ({groups})"
        found[side] = _counts(databases, query)
    yield from _compared(_REPLICATED, table, names, found, limits, "unique there, and in the audit's copy")
    for column in table.columns:
        if column.sensitive:
            value = f"CAST({sql.quote(column.name)} AS VARCHAR)"
            told = (
                f"SELECT {key} AS k, min({value}) AS v FROM {view_sql(AUDIT, table.name)} GROUP BY 1 "
                f"HAVING min({value}) = max({value}) AND count(*) = count({value})"
            )
            for side in (TRAIN, HOLDOUT):
                rows = f"SELECT {key} AS k, {value} AS v FROM {view_sql(side, table.name)}"
                joined = f"({rows}) r LEFT JOIN ({told}) c USING (k)"
                query = f"SELECT count(*), count(*) FILTER (WHERE c.v = r.v) FROM {joined}"
                found[side] = _counts(databases, query)
            subject = f"{table.name}.{column.name}"
            yield from _compared(_DISCLOSED, table, subject, found, limits, "told by all the copy's rows like theirs")


def _guessed(rows: Rows, place: int, used: npt.NDArray[np.bool_]) -> tuple[dict[str, int], dict[str, int]]:
    """How many of either side are guessed right, and how many there were."""
    points, categories = rows.only(used).points()
    answers, _ = rows.only(np.arange(len(rows.names)) == place).points()
    answered = ~np.isnan(rows.values[AUDIT][:, place])
    hits, totals = {}, {}
    for side in (TRAIN, HOLDOUT):
        there = np.flatnonzero(~np.isnan(rows.values[side][:, place]))
        picked = there[np.random.default_rng(0).permutation(len(there))[:_MOST_TARGETS]]
        totals[side] = len(picked)
        if not answered.any() or not len(picked):
            hits[side] = 0
            continue
        _, _, like = nearest(points[side][picked], points[AUDIT][answered], categories)
        guesses, truth = answers[AUDIT][answered][like, 0], answers[side][picked, 0]
        right = guesses == truth if rows.categories[place] else np.abs(guesses - truth) <= _NEAR
        hits[side] = int(right.sum())
    return hits, totals


def _compared(
    check: str,
    table: Table,
    subject: str,
    found: Mapping[str, tuple[int, int]],
    limits: Mapping[str, Threshold],
    what: str,
) -> list[Evidence]:
    (total, count), (total_others, count_others) = found[TRAIN], found[HOLDOUT]
    estimate = share_difference(count, max(total, 1), count_others, max(total_others, 1))
    shares = f"{count / max(total, 1):.2%} of those learned from, {count_others / max(total_others, 1):.2%} of others"
    evidence = _evidence(check, table, subject, estimate, f"{what}: {shares}")
    return judged(evidence, limits[check], noise=estimate.noise)


def _evidence(check: str, table: Table, subject: str, estimate: Estimate, detail: str) -> Evidence:
    return Evidence(
        check=check,
        subject=subject,
        value=estimate.value,
        n=estimate.n,
        ci_low=estimate.low,
        ci_high=estimate.high,
        detail=detail,
        table=table.name,
        basis=Basis.AUDIT,
        reference=0.0,
        seed=0,
    )


def _counts(databases: Databases, query: str) -> tuple[int, int]:
    ((total, count),) = databases.connection.execute(query).fetchall()
    return int(total), int(count)
