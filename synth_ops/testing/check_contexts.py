"""What a check is given: the small warehouse, and a copy of it that is clean but for what a test plants."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from synth_ops.artifacts import ArtifactKind, ArtifactRef, Snapshot, SyntheticCopy
from synth_ops.metadata import Column, Kind, Metadata, Table
from synth_ops.ports import CheckContext, Threshold
from synth_ops.testing.warehouses import SMALL_WAREHOUSE, small_warehouse_rows, write_table

Rows = dict[str, list[tuple[Any, ...]]]
_LEARNED = (Kind.CATEGORICAL, Kind.NUMERICAL, Kind.DATETIME)
_ENDS = 40


def check_context(
    folder: Path,
    plant: Callable[[Rows], object] | None = None,
    *,
    metadata: Metadata = SMALL_WAREHOUSE,
    customers: int = 400,
    thresholds: Mapping[str, Threshold] | None = None,
    suites: Mapping[str, Mapping[str, Any]] | None = None,
) -> CheckContext:
    """The small warehouse beside a clean copy.

    In the copy the values of every learned column lie near the source's, shuffled and without the extremes; all keys
    and references hold, and every name, e-mail address and note is made up.

    Args:
        folder: Where the Parquet files go.
        plant: Changes the copy's rows in place before they are written; a table that it removes is missing.
        metadata: Other keys or kinds for the same tables and columns.
        customers: How many; of less than a hundred the copy shows what too few people share.
        thresholds: The user's limits.
        suites: The user's suites.
    """
    source = small_warehouse_rows(customers=customers)
    copied = _clean_copy(metadata, source)
    if plant:
        plant(copied)
    snapshot_ref = ArtifactRef(kind=ArtifactKind.SNAPSHOT, id="0" * 20)
    snapshot = Snapshot(
        ref=snapshot_ref,
        metadata=metadata,
        tables={table.name: write_table(folder / "source", table, source[table.name]) for table in metadata.tables},
    )
    copy = SyntheticCopy(
        ref=ArtifactRef(kind=ArtifactKind.COPY, id="2" * 20),
        model=ArtifactRef(kind=ArtifactKind.MODEL, id="1" * 20),
        snapshot=snapshot_ref,
        metadata=metadata,
        tables={
            table.name: write_table(folder / "copy", table, copied[table.name])
            for table in metadata.tables
            if table.name in copied
        },
        seed=0,
        scale=1.0,
    )
    return CheckContext(snapshot=snapshot, copy=copy, thresholds=thresholds or {}, seed=0, suites=suites or {})


def _clean_copy(metadata: Metadata, source: Rows) -> Rows:
    return {table.name: _clean_table(table, source[table.name]) for table in metadata.tables}


def _clean_table(table: Table, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    keys = {name for key in table.keys for name in key} | {name for key in table.foreign_keys for name in key.columns}
    columns = [
        list(values) if column.name in keys and column.kind is not Kind.PII else _clean_column(column, list(values))
        for column, values in zip(table.columns, zip(*rows, strict=True), strict=True)
    ]
    return list(zip(*columns, strict=True))


def _clean_column(column: Column, values: list[Any]) -> list[Any]:
    if column.kind not in _LEARNED:
        return [None if value is None else _made_up(column, number) for number, value in enumerate(values)]
    rng = random.Random(column.name)  # noqa: S311  made-up data
    if column.type not in ("VARCHAR", "BOOLEAN"):
        known = sorted(value for value in values if value is not None)
        cut = min(_ENDS, len(known) // 3)
        inner = known[cut : len(known) - cut]
        values = [None if value is None else _near(rng.randrange(len(inner)), inner, rng) for value in values]
    rng.shuffle(values)
    return values


def _made_up(column: Column, number: int) -> str:
    return {"email": f"eve.{number}@example.net", "name": f"Eve Synthetic {number}"}.get(
        column.provider, f"please ring at the gate, {number}"
    )


def _near(place: int, values: list[Any], rng: random.Random) -> Any:
    """Something between a value and the next but three."""
    low, high = values[place], values[min(place + 3, len(values) - 1)]
    if isinstance(low, int):
        return rng.randint(low, high)
    if isinstance(low, Decimal):
        return low + Decimal(rng.randint(0, int((high - low) * 100))) / 100
    if isinstance(low, dt.datetime):
        return low + (high - low) * rng.random()
    if isinstance(low, dt.date):
        return low + dt.timedelta(days=rng.randint(0, (high - low).days))
    return rng.uniform(low, high)
