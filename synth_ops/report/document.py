"""What a report says, as one plain document: `report.json`. Pages and summaries are drawn from it alone.

Its keys are stable; a change of meaning raises `SCHEMA`. The same copy, judged twice, gives the same bytes but for what
stands under `times`.

| key | holds |
|---|---|
| `schema`, `version` | of this format; of synth_ops |
| `verdict` | `passed` or `failed` |
| `copy`, `model`, `snapshot` | ids of what was judged, what it was sampled from, what that was learned from |
| `generator`, `settings` | the plug-in's name; seed, scale and limits of the recipe |
| `labels` | whether text categories are named |
| `outcomes` | every judged number: `passed` and its `evidence`: check, subject, value, n, interval, limits, severity |
| `tables` | rows, keys and columns; distributions, associations and cardinalities of `source` and `copy` |
| `times` | seconds, by family of checks |
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from synth_ops import __version__, sql
from synth_ops.artifact_io import outcome_to_json
from synth_ops.artifacts import Outcome, Snapshot, SyntheticCopy
from synth_ops.metadata import Kind, Table
from synth_ops.report.associations import Associations, associations
from synth_ops.report.cardinalities import Cardinality, cardinality
from synth_ops.report.distributions import SOURCE, Distribution, distributions, take_samples

SCHEMA = 1
_DIGITS = 6
_MADE = frozenset({Kind.PII, Kind.TEXT, Kind.MEDIA})


def family(check: str) -> str:
    """The family of a check: what stands before the dot.

    >>> family("privacy.identical_rows")
    'privacy'
    """
    return check.partition(".")[0]


def report_document(
    *,
    snapshot: Snapshot,
    copy: SyntheticCopy,
    outcomes: Sequence[Outcome],
    verdict: str,
    generator: str,
    settings: Mapping[str, Any],
    labels: bool,
) -> dict[str, Any]:
    """Collect everything that a report says: names, counts, shares; no value that fewer than k subjects share.

    Args:
        labels: Whether text categories that k subjects share are named.
    """
    seconds: dict[str, float] = defaultdict(float)
    for outcome in outcomes:
        seconds[family(outcome.evidence.check)] += outcome.evidence.seconds
    return {
        "schema": SCHEMA,
        "version": __version__,
        "verdict": verdict,
        "copy": copy.ref.id,
        "model": copy.model.id,
        "snapshot": snapshot.ref.id,
        "generator": generator,
        "settings": {name: str(value) for name, value in settings.items()},
        "labels": labels,
        "outcomes": [_without_time(outcome_to_json(outcome)) for outcome in outcomes],
        "tables": _tables(snapshot, copy, labels=labels),
        "times": {"seconds": {name: round(value, 3) for name, value in seconds.items()}},
    }


def _without_time(document: dict[str, Any]) -> dict[str, Any]:
    evidence = {name: value for name, value in document["evidence"].items() if name != "seconds"}
    return {**document, "evidence": evidence}


def _tables(snapshot: Snapshot, copy: SyntheticCopy, *, labels: bool) -> list[dict[str, Any]]:
    with sql.connect() as connection:
        sql.register(connection, snapshot.tables, SOURCE)
        return [_table(connection, snapshot, copy, table, labels=labels) for table in snapshot.metadata.tables]


def _table(connection: Any, snapshot: Snapshot, copy: SyntheticCopy, table: Table, *, labels: bool) -> dict[str, Any]:
    found, related, counted = _pictures(connection, snapshot, copy, table, labels=labels)
    copied = copy.tables.get(table.name)
    return {
        "name": table.name,
        "rows": {"source": snapshot.tables[table.name].rows, "copy": copied.rows if copied else None},
        "subject": table.subject,
        "primary_key": list(table.primary_key),
        "unique": [list(key) for key in table.uniques],
        "foreign_keys": [
            {
                "columns": list(key.columns),
                "parent": key.parent,
                "parent_columns": list(key.parent_columns),
                "orphans": key.orphans.value,
            }
            for key in table.foreign_keys
        ],
        "columns": [_column(each, table) for each in found],
        "associations": _associations(related),
        "cardinalities": [_cardinality(each) for each in counted],
    }


def _pictures(
    connection: Any, snapshot: Snapshot, copy: SyntheticCopy, table: Table, *, labels: bool
) -> tuple[list[Distribution], Associations | None, list[Cardinality]]:
    """Nothing for a table that can't be read: the integrity check has said so."""
    import duckdb

    try:
        take_samples(connection, snapshot, copy, table)
        found = distributions(connection, table, labels=labels)
        related = associations(connection, table)
    except (duckdb.Error, KeyError):
        plain = [Distribution(column=column, nulls_real=math.nan, nulls_copy=math.nan) for column in table.columns]
        return plain, None, []
    counted = []
    for key in table.foreign_keys:
        try:
            one = cardinality(connection, snapshot, copy, table, key)
        except (duckdb.Error, KeyError):
            continue
        counted += [one] if one else []
    return found, related, counted


def _column(distribution: Distribution, table: Table) -> dict[str, Any]:
    column = distribution.column
    document: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "kind": column.kind.value,
        "nulls": {"source": _share(distribution.nulls_real), "copy": _share(distribution.nulls_copy)},
    }
    if distribution.edges:
        document["histogram"] = {
            "low": distribution.low,
            "high": distribution.high,
            "edges": list(distribution.edges),
            "source": [_share(share) for share in distribution.real],
            "copy": [_share(share) for share in distribution.copy],
        }
    elif distribution.categories:
        document["categories"] = [
            {"label": each.label, "source": _share(each.real), "copy": _share(each.copy)}
            for each in distribution.categories
        ]
    else:
        document["not_shown"] = _why_not_shown(distribution, table)
    return document


def _why_not_shown(distribution: Distribution, table: Table) -> str:
    """Where the values of a column without a plot come from."""
    column = distribution.column
    parents = [key.parent for key in table.foreign_keys if column.name in key.columns]
    if parents:
        return f"a reference, made as its parent's key, in {' and '.join(dict.fromkeys(parents))}"
    if column.kind is Kind.ID or (column.name,) in table.keys:
        return "allocated, not learned; codes of reference data that many refer to are kept"
    if column.kind in _MADE:
        return "made by a provider, never the source's"
    if math.isnan(distribution.nulls_real) or math.isnan(distribution.nulls_copy):
        return "nothing to compare: one side has no rows, or can't be read"
    return "no value has enough people behind it"


def _associations(found: Associations | None) -> dict[str, Any] | None:
    if not found:
        return None
    document = asdict(found)
    return {
        "columns": list(found.columns),
        "source": [list(row) for row in document["real"]],
        "copy": [list(row) for row in document["copy"]],
        "left_out": found.left_out,
    }


def _cardinality(found: Cardinality) -> dict[str, Any]:
    return {
        "columns": list(found.key.columns),
        "parent": found.key.parent,
        "children": list(found.labels),
        "source": [_share(share) for share in found.real],
        "copy": [_share(share) for share in found.copy],
    }


def _share(value: float) -> float | None:
    return None if math.isnan(value) else round(value, _DIGITS)
