"""How far a source moved between two snapshots: the population stability index (PSI) of every learned column.

The earlier snapshot need not be there any more: what is compared with is its profile, shares by decile or category.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synth_ops import sql
from synth_ops.artifacts import Snapshot, TableData
from synth_ops.metadata import Column, Kind, Table
from synth_ops.report.distributions import learned, number_sql

if TYPE_CHECKING:
    import duckdb

Digest = Callable[[str], str]
Profile = dict[str, dict[str, Any]]

_ROWS = 50_000
_BINS, _LABELS, _LOOKED_AT = 10, 20, 200
_WIDEST = 1e300
_STEPS = 1000
_SIGMAS = 2
_LEAST_SHARE = 1e-4


def profile(snapshot: Snapshot, digest: Digest) -> Profile:
    """What to compare later snapshots with.

    It holds no value: deciles are rounded to thousandths of the range between them, categories are keyed digests.

    Args:
        digest: Hides a category; the same at every call.

    Returns:
        By table: `rows`, and by column its `edges` or `labels` with their `shares`; NULL and all others come last.
    """
    profiles: Profile = {}
    with sql.connect() as connection:
        for table in snapshot.metadata.tables:
            data, columns = snapshot.tables[table.name], _columns(table)
            numbers, texts = _read(connection, data, columns)
            found = {name: _number_profile(values) for name, values in numbers.items()}
            found |= {name: _text_profile(counts, digest) for name, counts in texts.items()}
            profiles[table.name] = {"rows": data.rows, "columns": found}
    return profiles


def drift(reference: Profile, snapshot: Snapshot, digest: Digest) -> dict[str, float]:
    """The PSI of every column that both have, less what chance alone explains; 0 is no drift.

    PSI is the sum of (new - old) * ln(new / old) over the shares of bins. Between samples of one population it is
    distributed as chi-squared times (1/n + 1/m) (Yurdakul 2018): its mean and two standard deviations are taken off.

    Args:
        reference: The `profile` of the earlier snapshot.
        snapshot: The later one.
        digest: As for the profile.
    """
    found: dict[str, float] = {}
    with sql.connect() as connection:
        for table in snapshot.metadata.tables:
            before = reference.get(table.name)
            columns = [column for column in _columns(table) if before and column.name in before["columns"]]
            if before is None or not columns:
                continue
            numbers, texts = _read(connection, snapshot.tables[table.name], columns)
            for name, values in numbers.items():
                old = before["columns"][name]
                if "edges" in old:
                    found[f"{table.name}.{name}"] = _psi(old, _number_counts(values, old["edges"]))
            for name, counts in texts.items():
                old = before["columns"][name]
                if "labels" in old:
                    found[f"{table.name}.{name}"] = _psi(old, _text_counts(counts, old["labels"], digest))
    return found


def _columns(table: Table) -> list[Column]:
    return [column for column in table.columns if learned(table, column)]


_Numbers = dict[str, npt.NDArray[np.float64]]
_Texts = dict[str, dict[str | None, int]]


def _read(connection: duckdb.DuckDBPyConnection, data: TableData, columns: Sequence[Column]) -> tuple[_Numbers, _Texts]:
    """Numbers of about 50,000 rows, NaN for NULL; how often each of the most frequent texts occurs in them."""
    kept = f"hash(file_index, file_row_number) % {max(data.rows, 1)} < {_ROWS}"
    rows = f"(SELECT * FROM {sql.relation_sql(data)} WHERE {kept})"
    expressions = {column.name: "" if column.kind is Kind.CATEGORICAL else number_sql(column) for column in columns}
    numeric = [name for name, expression in expressions.items() if expression]
    numbers: _Numbers = {}
    if numeric:
        selected = ", ".join(f"{expressions[name]} AS c{place}" for place, name in enumerate(numeric))
        read = connection.execute(f"SELECT {selected} FROM {rows}").fetchnumpy()
        for place, name in enumerate(numeric):
            numbers[name] = np.ma.filled(np.ma.asarray(read[f"c{place}"], dtype=float), np.nan)
    texts: _Texts = {}
    for name in (name for name, expression in expressions.items() if not expression):
        value = f"CAST({sql.quote(name)} AS VARCHAR)"
        counted = connection.execute(
            f"SELECT v, count(*) AS n FROM (SELECT {value} AS v FROM {rows}) "
            "GROUP BY v ORDER BY v IS NOT NULL, n DESC, v"
        ).fetchmany(_LOOKED_AT)
        total = connection.execute(f"SELECT count(*) FROM {rows}").fetchall()[0][0]
        texts[name] = dict(counted)
        texts[name][""] = texts[name].get("", 0) + total - sum(n for _, n in counted)
    return numbers, texts


def _number_profile(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    known = np.sort(values[np.isfinite(values)])
    cuts = known[len(known) * np.arange(1, _BINS) // _BINS] if len(known) else known
    span = min(float(cuts[-1]) - float(cuts[0]), _WIDEST) if len(cuts) else 0.0
    step = (
        10.0 ** math.floor(math.log10(span / _STEPS))
        if span > 0
        else max(abs(float(cuts[0])), 1.0) / 100
        if len(cuts)
        else 1.0
    )
    edges = sorted({float(round(cut / step) * step) for cut in cuts})
    return {"edges": edges, **_shares(_number_counts(values, edges))}


def _number_counts(values: npt.NDArray[np.float64], edges: Sequence[float]) -> list[int]:
    """How many lie in each bin; the last is NULL."""
    places = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(np.asarray(edges), values, side="left"))
    return [int(n) for n in np.bincount(places.astype(np.int64), minlength=len(edges) + 2)]


def _text_profile(counts: Mapping[str | None, int], digest: Digest) -> dict[str, Any]:
    frequent = sorted((label for label in counts if label), key=lambda label: (-counts[label], label))[:_LABELS]
    labels = [digest(label) for label in frequent]
    return {"labels": labels, **_shares(_text_counts(counts, labels, digest))}


def _text_counts(counts: Mapping[str | None, int], labels: Sequence[str], digest: Digest) -> list[int]:
    """How often each label occurs; the last two are NULL and all others."""
    places = {label: place for place, label in enumerate(labels)}
    found = [0] * (len(labels) + 2)
    for label, n in counts.items():
        place = len(labels) if label is None else places.get(digest(label), len(labels) + 1)
        found[place] += n
    return found


def _shares(counts: Sequence[int]) -> dict[str, Any]:
    total = sum(counts)
    return {"n": total, "shares": [round(count / total, 6) if total else 0.0 for count in counts]}


def _psi(before: Mapping[str, Any], counts: Sequence[int]) -> float:
    n, m = before["n"], sum(counts)
    if not n or not m:
        return 0.0
    old = np.maximum(np.asarray(before["shares"]), _LEAST_SHARE)
    new = np.maximum(np.asarray(counts) / m, _LEAST_SHARE)
    free = int(((np.asarray(before["shares"]) > 0) | (np.asarray(counts) > 0)).sum()) - 1
    chance = (free + _SIGMAS * math.sqrt(2 * free)) * (1 / n + 1 / m) if free > 0 else 0.0
    return round(max(float(((new - old) * np.log(new / old)).sum()) - chance, 0.0), 4)
