"""Whole rows of the copy that a real one equals, beside how many would without any copying."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from synth_ops import sql
from synth_ops.artifacts import Evidence
from synth_ops.checks.limits import judged
from synth_ops.checks.statistics import share_interval
from synth_ops.checks.views import COPY, SOURCE, Views, is_text, learned_columns, subjects_of, view_sql
from synth_ops.metadata import Column, Table
from synth_ops.ports import Threshold
from synth_ops.sql import K_SUBJECTS

IDENTICAL_ROWS = "privacy.identical_rows"
IDENTITY_LIMITS: Mapping[str, Threshold] = {IDENTICAL_ROWS: Threshold(warn=0.0, block=0.005)}
"""The share of rows allowed above what the source itself shows."""
_MIN_COLUMNS = 3
_RUNNING_SHARE = 0.9
_WARN_FACTOR = 1.5
_SIGMAS = 3
_TENTHS = 10


def identical_rows(views: Views, table: Table, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """The share of the copy's rows that equal a real one, beside how often two real subjects have equal rows.

    Rows of few and common values are equal by chance. Where the plain comparison does not pass, the share that chance
    alone explains is worked out, too: see `_by_chance`.
    """
    columns = _informative(views, table)
    if len(columns) < _MIN_COLUMNS:
        return []
    rows, _ = subjects_of(views.metadata, table.name)
    key = f"hash({sql.columns_sql([column.name for column in columns])}) AS h"
    hashed = f"SELECT {key}, {sql.SUBJECT} AS s FROM {rows}"
    total, twins = _twins(views, hashed)
    real = f"SELECT {key} FROM {view_sql(SOURCE, table.name)}"
    n, same = views.row(
        f"SELECT count(*), count(*) FILTER (WHERE h IN ({real})) FROM (SELECT {key} FROM {view_sql(COPY, table.name)})"
    )
    if not total or not n:
        return []
    usual = twins / total
    smooth = (twins + 2) / (total + 4)  # Agresti-Coull: no twin among few rows proves little
    error = math.sqrt(smooth * (1 - smooth) * (1 / total + 1 / n))
    if same / n > usual + _SIGMAS * error:
        # rounded, as a sum over threads differs in its last digits
        usual = max(usual, round(_by_chance(views, rows, key, columns), 9))
        error = max(error, math.sqrt(2) * _spread(views, hashed, total, twins) / total)
    passing, share = usual + _SIGMAS * error, same / n
    low, high = share_interval(share, n)
    evidence = Evidence(
        check=IDENTICAL_ROWS,
        subject=table.name,
        value=share,
        n=n,
        ci_low=low,
        ci_high=high,
        detail=f"on {len(columns)} columns; {usual:.2%} are to be expected without any copying",
        reference=usual,
    )
    warn, block = (Threshold(warn=limits[IDENTICAL_ROWS].warn), Threshold(block=limits[IDENTICAL_ROWS].block))
    return [
        *judged(evidence, warn, allowance=passing, laxest=1.0),
        *judged(evidence, block, allowance=max(_WARN_FACTOR * usual, passing), laxest=1.0),
    ]


def _twins(views: Views, hashed: str) -> tuple[float, float]:
    """How many rows there are, and how many of them equal another subject's."""
    groups = (
        "SELECT count(*) AS n, min(s) IS DISTINCT FROM max(s) OR count(*) > count(s) AND count(*) > 1 AS twins "
        f"FROM ({hashed}) GROUP BY h"
    )
    total, twins = views.row(f"SELECT coalesce(sum(n), 0), coalesce(sum(n) FILTER (WHERE twins), 0) FROM ({groups})")
    return float(total), float(twins)


def _spread(views: Views, hashed: str, total: float, twins: float) -> float:
    """The standard error of the number of twins: a subject's rows have them together, or none has.

    With one more subject, of the usual size, whose rows all have one: two people born on one day prove no copying.
    """
    everybody, own = "count(*) OVER (PARTITION BY h)", "count(*) OVER (PARTITION BY h, s)"
    twin = f"CAST({everybody} > {own} OR s IS NULL AND {everybody} > 1 AS INTEGER)"
    marked = f"SELECT s, {twin} - CAST({twins / total!r} AS DOUBLE) AS excess FROM ({hashed})"
    of_some = f"SELECT sum(excess) AS e FROM ({marked}) WHERE s IS NOT NULL GROUP BY s"
    of_nobody = f"SELECT excess AS e FROM ({marked}) WHERE s IS NULL"
    squares, subjects = views.row(f"SELECT sum(e * e), count(*) FROM ({of_some} UNION ALL {of_nobody})")
    return math.sqrt(round(squares, 6) + (total / subjects) ** 2)


def _by_chance(views: Views, rows: str, key: str, columns: Sequence[Column]) -> float:
    """The share of equal rows that a copy shows without copying any.

    The larger of two: how often real rows equal another subject's among those whose every value k rows share (a copy
    shows no others), and how often a row would equal a real one that is drawn from what k rows share: their categories
    together with the tenths in which their numbers lie, and each number from its tenth; the values of all other rows
    independently. Of a tenth's numbers those that k rows share come as often as they do, others as any whole one.
    """
    names = [sql.quote(column.name) for column in columns]
    numbers = {place for place, column in enumerate(columns) if not is_text(column)}
    tenths = ", ".join(
        (f"floor({_TENTHS} * percent_rank() OVER (ORDER BY {name}))" if place in numbers else name) + f" AS b{place}"
        for place, name in enumerate(names)
    )
    cell = ", ".join(f"b{place}" for place in range(len(names)))
    shares = ", ".join(f"count(*) OVER (PARTITION BY {name}) AS c{place}" for place, name in enumerate(names))
    shares += "".join(
        f", {_share_of_tenth(columns[place], f'c{place}', f'b{place}')} AS w{place}" for place in sorted(numbers)
    )
    counted = (
        f"SELECT {key}, {sql.SUBJECT} AS s, count(*) OVER () AS n, count(*) OVER (PARTITION BY {cell}) AS together, "
        f"{shares} FROM (SELECT *, {tenths} FROM {rows})"
    )
    shared = " AND ".join(f"c{place} >= {K_SUBJECTS}" for place in range(len(names)))
    total, twins = _twins(views, f"SELECT h, s FROM ({counted}) WHERE {shared}")
    apart = " * ".join(f"(c{place} / n)" for place in range(len(names)))
    within = " * ".join(["together / n", *(f"w{place}" for place in sorted(numbers))])
    product = f"CASE WHEN together >= {K_SUBJECTS} THEN {within} ELSE {apart} END"
    chance = views.number(f"SELECT coalesce(sum(p), 0) FROM (SELECT DISTINCT h, {product} AS p FROM ({counted}))")
    return max(twins / total if total else 0.0, min(chance, 1.0))


def _share_of_tenth(column: Column, count: str, tenth: str) -> str:
    """How often a number of a tenth is drawn that so many rows have; never where few do and there is no next one."""
    name, among = sql.quote(column.name), f"OVER (PARTITION BY {tenth})"
    whole = sql.is_integer(column.type) or column.type == "DATE"
    rare = f"1 / coalesce(max({name}) {among} - min({name}) {among} + 1, 1)" if whole else "0"
    return f"CASE WHEN {count} >= {K_SUBJECTS} THEN {count} / count(*) {among} ELSE {rare} END"


def _informative(views: Views, table: Table) -> list[Column]:
    """Those learned columns that hold more than one value, but for running numbers: those meet by chance."""
    columns = learned_columns(table)
    if not columns:
        return []
    varied = ", ".join(
        f"min({name}) IS DISTINCT FROM max({name})"
        + (f" AND count(DISTINCT {name}) < {_RUNNING_SHARE} * count({name})" if sql.is_integer(column.type) else "")
        for column, name in ((column, sql.quote(column.name)) for column in columns)
    )
    answers = views.row(f"SELECT {varied} FROM {view_sql(SOURCE, table.name)}")
    return [column for column, answer in zip(columns, answers, strict=True) if answer]
