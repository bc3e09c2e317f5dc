"""Typed artifacts to and from the store; the Parquet files of tables on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from synth_ops import pickles
from synth_ops.artifacts import (
    ArtifactRef,
    Basis,
    Evidence,
    FittedModel,
    GateReport,
    Outcome,
    Severity,
    Snapshot,
    SyntheticCopy,
    TableData,
)
from synth_ops.metadata import Metadata
from synth_ops.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

REPORT_FILE = "report.html"
MODEL_FOLDER = "model"
_TABLES_FOLDER = "tables"
_ROW_GROUP_ROWS = 65_536
_ROW_GROUP_BYTES = 16 * 2**20
_LOOKED_AT = 8_192
_LONGEST_NAME = 120


def table_folder(root: Path, table: str) -> Path:
    """Where a table's files go: its name, percent-encoded, and shortened with a digest where it is too long."""
    name = quote(table, safe="")
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 20]}-{hashlib.sha256(table.encode()).hexdigest()[:16]}"
    return root / _TABLES_FOLDER / name.replace(".", "%2E")


def write_table(
    root: Path, table: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch | pa.Table], *, part: int = 0
) -> TableData:
    """Stream batches into one Parquet file below `root`: the one file of a table, or one of its parts.

    However small they are, a row group has at least 65,536 rows or about 16 MB, and never twice as many rows.
    """
    import pyarrow.parquet as pq

    folder = table_folder(root, table)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"part-{part:05}.parquet"
    rows, nothing = 0, schema.empty_table()
    groups = _row_groups(batches)
    group = next(groups, nothing)
    with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=_repeating(group) or False) as writer:
        while group.num_rows:
            writer.write_table(group, row_group_size=2 * _ROW_GROUP_ROWS)
            rows += group.num_rows
            group = next(groups, nothing)
    return TableData(rows=rows, files=(file,))


def _row_groups(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[pa.Table]:
    """Batches put one behind the other until there are enough of them; none is copied."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    rows = size = 0
    for batch in batches:
        waiting.append(pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _ROW_GROUP_ROWS or size >= _ROW_GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting, rows, size = [], 0, 0
    if rows:
        yield pa.concat_tables(waiting)


def _repeating(rows: pa.Table) -> list[str]:
    """The texts for which a dictionary pays, by the first of their rows; numbers repeat too little to gain."""
    import pyarrow as pa
    import pyarrow.compute as pc

    seen = rows.slice(0, _LOOKED_AT)
    texts = [field.name for field in seen.schema if pa.types.is_string(field.type)]
    return [name for name in texts if 2 * pc.count_distinct(seen[name]).as_py() <= seen.num_rows]


def join_parts(parts: Sequence[Mapping[str, TableData]]) -> dict[str, TableData]:
    """Tables from parts of them: the files of all parts, in order."""
    names = dict.fromkeys(name for part in parts for name in part)
    found = {name: [part[name] for part in parts if name in part] for name in names}
    return {
        name: TableData(rows=sum(data.rows for data in each), files=tuple(file for data in each for file in data.files))
        for name, each in found.items()
    }


def tables_to_json(root: Path, tables: Mapping[str, TableData]) -> dict[str, Any]:
    """Row counts and file names relative to `root`."""
    return {
        name: {"rows": data.rows, "files": [file.relative_to(root).as_posix() for file in data.files]}
        for name, data in tables.items()
    }


def tables_from_json(root: Path, document: Mapping[str, Any]) -> dict[str, TableData]:
    """Read what `tables_to_json` wrote, the files below another `root`."""
    return {
        name: TableData(rows=entry["rows"], files=tuple(root / file for file in entry["files"]))
        for name, entry in document.items()
    }


def read_snapshot(store: Store, ref: ArtifactRef) -> Snapshot:
    """Read a snapshot back.

    Raises:
        ArtifactError: It is missing or was changed.
    """
    stored = store.read(ref)
    return Snapshot(
        ref=ref,
        metadata=Metadata.from_json(stored.body["metadata"]),
        tables=tables_from_json(stored.path, stored.body["tables"]),
        warnings=tuple(stored.body["warnings"]),
        position=stored.body["position"],
    )


def read_model(store: Store, ref: ArtifactRef) -> FittedModel:
    """Read a fitted model back; its files are for its generator, which may load those that are pickles from now on.

    Raises:
        ArtifactError: It is missing or was changed.
    """
    stored = store.read(ref)
    pickles.vouch(stored.digests.values())
    return FittedModel(
        ref=ref,
        snapshot=ArtifactRef.from_json(stored.body["snapshot"]),
        generator=stored.body["generator"],
        path=stored.path / MODEL_FOLDER,
    )


class _TablesOnDemand(Mapping[str, TableData]):
    """A copy's tables, the files of each fetched and looked at when it is asked for."""

    def __init__(self, store: Store, ref: ArtifactRef, listed: Mapping[str, Any]) -> None:
        self._store, self._ref, self._listed = store, ref, listed
        self._read: dict[str, TableData] = {}

    def __getitem__(self, name: str) -> TableData:
        if name not in self._read:
            entry = self._listed[name]
            stored = self._store.read(self._ref, entry["files"])
            self._read |= tables_from_json(stored.path, {name: entry})
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._listed

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)


def read_copy(store: Store, ref: ArtifactRef, *, on_demand: bool = False) -> SyntheticCopy:
    """Read a synthetic copy back.

    Args:
        on_demand: Whether a table's files are fetched and looked at when that table is first asked for, and not now:
            for one of many workers, who needs some of them.

    Raises:
        ArtifactError: It is missing or was changed; where tables are read on demand, those raise it, too.
    """
    body, tables = store.facts(ref), None
    if not on_demand:
        stored = store.read(ref)
        tables = tables_from_json(stored.path, body["tables"])
    return SyntheticCopy(
        ref=ref,
        model=ArtifactRef.from_json(body["model"]),
        snapshot=ArtifactRef.from_json(body["snapshot"]),
        metadata=Metadata.from_json(body["metadata"]),
        tables=_TablesOnDemand(store, ref, body["tables"]) if tables is None else tables,
        seed=body["seed"],
        scale=body["scale"],
    )


def read_report(store: Store, ref: ArtifactRef) -> GateReport:
    """Read a gate report back.

    Raises:
        ArtifactError: It is missing or was changed.
    """
    stored = store.read(ref)
    return GateReport(
        ref=ref,
        copy=ArtifactRef.from_json(stored.body["copy"]),
        verdict=stored.body["verdict"],
        outcomes=tuple(_outcome_from_json(entry) for entry in stored.body["outcomes"]),
        html=stored.path / REPORT_FILE,
    )


def read_metadata(store: Store, ref: ArtifactRef) -> Metadata:
    """The tables that an artifact of any kind is about, without reading its files.

    Raises:
        ArtifactError: It, or what it was made from, is missing or was changed.
    """
    body = store.facts(ref)
    while "metadata" not in body:
        before = next(body[name] for name in ("copy", "model", "snapshot") if name in body)
        body = store.facts(ArtifactRef.from_json(before))
    return Metadata.from_json(body["metadata"])


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """Plain numbers and strings; what JSON has no number for becomes a string."""
    from dataclasses import asdict

    evidence = {
        name: str(value) if isinstance(value, float) and not _is_finite(value) else value
        for name, value in asdict(outcome.evidence).items()
    }
    return {
        "passed": outcome.passed,
        "evidence": {**evidence, "severity": outcome.evidence.severity.value, "basis": outcome.evidence.basis.value},
    }


def _outcome_from_json(document: Mapping[str, Any]) -> Outcome:
    numbers = ("value", "ci_low", "ci_high", "maximum", "minimum", "reference")
    evidence: dict[str, Any] = {
        name: float(value) if name in numbers and isinstance(value, str) else value
        for name, value in document["evidence"].items()
    }
    return Outcome(
        passed=document["passed"],
        evidence=Evidence(
            **{**evidence, "severity": Severity(evidence["severity"]), "basis": Basis(evidence["basis"])}
        ),
    )


def _is_finite(value: float) -> bool:
    return value - value == 0
