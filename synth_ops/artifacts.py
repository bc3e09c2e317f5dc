"""What the steps make: immutable, content-addressed, described by plain JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from synth_ops.metadata import Metadata


class ArtifactKind(StrEnum):
    """One a step; the parts of a copy, where they are drawn apart; and the audit that a gate makes for itself."""

    SNAPSHOT = "snapshot"
    MODEL = "model"
    COPY = "copy"
    REPORT = "report"
    PUBLICATION = "publication"
    SHARD = "shard"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRef:
    """A small reference that may travel through XCom and asset metadata: a kind and an id, nothing else."""

    kind: ArtifactKind
    id: str

    def to_json(self) -> dict[str, str]:
        """Two strings."""
        return {"kind": self.kind.value, "id": self.id}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ArtifactRef:
        """Read what `to_json` wrote."""
        return cls(kind=ArtifactKind(document["kind"]), id=str(document["id"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class TableData:
    """The Parquet files of one table, in row order.

    Attributes:
        rows: The number of rows in all files.
        files: Absolute local paths.
    """

    rows: int
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A frozen read of the source at one instant.

    Attributes:
        metadata: Reflected from the source, completed by the recipe, with the kinds decided.
        tables: Its data, by table name.
        warnings: What was noticed on the way, without values.
        position: When and where the source was read: its version, its place in its log; empty for files.
    """

    ref: ArtifactRef
    metadata: Metadata
    tables: Mapping[str, TableData]
    warnings: tuple[str, ...] = ()
    position: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedModel:
    """What a generator learned.

    Attributes:
        snapshot: What it was learned from.
        generator: The plug-in's name.
        path: The folder that holds the generator's own files.
    """

    ref: ArtifactRef
    snapshot: ArtifactRef
    generator: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticCopy:
    """One sampled database.

    Attributes:
        model: What it was sampled from.
        snapshot: What that was learned from.
        tables: Its data, by table name; the metadata is the snapshot's.
    """

    ref: ArtifactRef
    model: ArtifactRef
    snapshot: ArtifactRef
    metadata: Metadata
    tables: Mapping[str, TableData]
    seed: int
    scale: float


class Severity(StrEnum):
    """What a failed expectation does."""

    CRITICAL = "critical"
    """It blocks the publication."""
    WARNING = "warning"
    """It is shown."""
    INFO = "info"
    """There is nothing to fail: a number to look at."""


class Basis(StrEnum):
    """Which data a number comes from."""

    COPY = "copy"
    """The copy that is to be published, against the whole snapshot."""
    AUDIT = "audit"
    """A copy made by a model that saw half of the subjects only, against these and against the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One measured number about a copy; never a cell value.

    Attributes:
        check: The measure's name, which thresholds refer to: `integrity.foreign_key`, `privacy.identical_rows`, ...
        subject: What it was measured on, in names: `flights(dest) -> airports`, `flights.carrier`.
        value: The number that is judged.
        n: How many rows, subjects, values or pairs it rests on.
        ci_low, ci_high: 95 % confidence interval, where sampling noise matters.
        maximum, minimum: The limits it is judged by (None: no limit on that side).
        severity: What failing means. A measure that has a limit for warning and one for blocking is judged twice.
        detail: One line for people, without values.
        table: The table that it is about; empty for the whole database.
        basis: Which data it comes from.
        reference: What fresh real data would give: the null of a privacy measure, the ceiling of a fidelity one.
    """

    check: str
    subject: str
    value: float
    n: int
    ci_low: float | None = None
    ci_high: float | None = None
    maximum: float | None = None
    minimum: float | None = None
    severity: Severity = Severity.CRITICAL
    seed: int | None = None
    seconds: float = 0.0
    detail: str = ""
    table: str = ""
    basis: Basis = Basis.COPY
    reference: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One judged piece of evidence."""

    evidence: Evidence
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """The verdict on one copy.

    Attributes:
        copy: The copy it is about.
        verdict: `passed` or `failed`; a warning does not fail a copy.
        outcomes: Everything that was judged.
        html: The report that people read.
    """

    ref: ArtifactRef
    copy: ArtifactRef
    verdict: Literal["passed", "failed"]
    outcomes: Sequence[Outcome] = ()
    html: Path | None = None

    @property
    def failures(self) -> list[Outcome]:
        """What blocked it."""
        return [o for o in self.outcomes if not o.passed and o.evidence.severity is Severity.CRITICAL]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One publication that a target remembers.

    Attributes:
        number: Counts up from 1; a rollback makes no new number.
        copy: Id of the copy.
        published_at: ISO 8601, UTC.
        live: Whether readers see this one.
        tables: Row counts by table name.
    """

    number: int
    copy: str
    published_at: str
    live: bool
    tables: Mapping[str, int] = field(default_factory=dict)
