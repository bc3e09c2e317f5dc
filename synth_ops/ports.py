"""What a plug-in must look like. A class that has these methods is one; nothing is inherited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from synth_ops.artifacts import Evidence, Generation, Snapshot, SyntheticCopy, TableData
from synth_ops.metadata import Metadata, Table
from synth_ops.recipe import Mismatch

if TYPE_CHECKING:
    import pyarrow as pa
    from great_expectations import ExpectationSuite


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One tick of a step, for bars and log lines.

    Attributes:
        step: `snapshot`, `fit`, ...
        item: What is being worked on: a table's name, a check's.
        done, total: How far the step is, in the step's own units.
    """

    step: str
    item: str
    done: int
    total: int


ProgressListener = Callable[[Progress], None]


class SourceSession(Protocol):
    """One consistent look at a source."""

    warnings: list[str]
    """What could not be taken over as it is, by names; complete when all tables are read."""
    position: Mapping[str, str]
    """When and where the look stands: the server's version, a log position; empty for files."""
    may_write: str
    """What the session could write if it tried, in words; empty where it is proven that it can't. Known after
    `metadata`."""

    def metadata(self) -> Metadata:
        """Tables, columns, types and declared constraints, as the source has them (kinds are decided later)."""

    def read(self, table: Table, where: str = "") -> pa.RecordBatchReader:
        """Stream a table's rows, in a stable order, with the columns that `table` lists, in bounded memory.

        Args:
            where: An SQL condition that the rows meet, in the source's own dialect; all rows when empty.
        """


class Source(Protocol):
    """A database or folder that snapshots are taken of. Constructed as `Source(location)`; opens nothing by itself."""

    version: str
    """Of the plug-in; part of artifact ids."""

    def state(self) -> str | None:
        """A token that changes when the data may have changed, cheaper than reading it all; None if there is none."""

    def session(self) -> AbstractContextManager[SourceSession]:
        """Open one consistent look, read-only.

        Raises:
            SourceError: The source can't be read.
        """


class FittedGenerator(Protocol):
    """A loaded model."""

    def sample(self, folder: Path, *, seed: int, scale: float, progress: ProgressListener) -> Mapping[str, TableData]:
        """Write a synthetic copy of every table as Parquet files below `folder`, in bounded memory.

        The same seed gives the same bytes.

        Raises:
            SampleError: It can't be done.
        """


@runtime_checkable
class ShardedGenerator(FittedGenerator, Protocol):
    """A loaded model whose copies can be drawn in parts: on several processors, in any order, with the same bytes."""

    def shards(self, scale: float) -> int:
        """How many parts a copy has: it follows from the model and the scale, not from the machine."""

    def sample_shard(
        self, folder: Path, shard: int, *, seed: int, scale: float, progress: ProgressListener
    ) -> Mapping[str, TableData]:
        """Write one part below `folder`, its files named so that those of all parts go together.

        Shards are numbered from 0. The first holds a file of every table; a later one may hold none of some.

        Raises:
            SampleError: It can't be done.
        """


class Generator(Protocol):
    """A method that learns a whole database. Constructed as `Generator(**settings)`.

    Its class may say more in the attributes that `worker.traits.Traits` lists: `single_table` (it learns one table
    without references), `own_process` (it runs in a process of its own), `licence`.
    """

    version: str

    def fit(self, snapshot: Snapshot, folder: Path, *, progress: ProgressListener) -> None:
        """Learn from a snapshot and write the model's files into the empty `folder`.

        It writes no pickle, unless it has a process of its own and uses `pickles`.

        Raises:
            FitError: It can't be done.
        """

    def load(self, folder: Path, metadata: Metadata) -> FittedGenerator:
        """Load what `fit` wrote."""


@runtime_checkable
class ChoosyGenerator(Generator, Protocol):
    """A generator that can't learn every database, and says so before it tries."""

    def problems(self, snapshot: Snapshot) -> Sequence[str]:
        """What of a snapshot is too much for it, a line each, in names and counts; nothing where it can learn it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Where a measure begins to warn, and where it blocks the publication.

    Attributes:
        warn, block: None: never.
        at_most: Whether more is worse.
    """

    warn: float | None = None
    block: float | None = None
    at_most: bool = True

    def is_stricter(self, limit: float | None, other: float | None) -> bool:
        """Whether one limit lets less pass than another; None lets everything pass."""
        if limit is None or other is None:
            return limit is not None
        return limit < other if self.at_most else limit > other


@runtime_checkable
class RefittingGenerator(Generator, Protocol):
    """A generator that takes over what did not change."""

    def refit(self, snapshot: Snapshot, folder: Path, previous: Path, *, progress: ProgressListener) -> None:
        """Make the same model as `fit` makes, sooner.

        Args:
            previous: A model that the same version of the same generator, with the same settings, made before.

        Raises:
            FitError: It can't be done.
        """


@runtime_checkable
class ComposedGenerator(Generator, Protocol):
    """A generator that others make parts for."""

    def makers(self, snapshot: Snapshot) -> Mapping[str, str]:
        """Who makes the columns of each table, by the names of table and generator.

        Raises:
            RecipeError: A table was given a generator that has nothing to make there; every such table is told.
        """

    def made_in(self, model: Path) -> Mapping[str, str]:
        """Who makes the columns of each table of a model that was fitted, and why where that is not as it was meant."""

    def as_in(self, model: Path) -> Generator:
        """The same with each table's columns made by whoever makes them in a model, or not at all.

        So what an audit says of one holds for the other.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The snapshot in two halves with no subject in common, and a copy that was learned from one of them.

    Attributes:
        metadata: Of the tables in here, with the rows of the first half.
        train, holdout: The halves.
        copy: Made by a model that saw `train` alone.
        split: The tables whose rows are in one half only, parents first; the others are whole in both.
        subjects: How many a half holds, by the table whose rows were dealt out.
        persons: Whether these are persons.
    """

    metadata: Metadata = field(default_factory=lambda: Metadata(tables=()))
    train: Mapping[str, TableData] = field(default_factory=dict)
    holdout: Mapping[str, TableData] = field(default_factory=dict)
    copy: Mapping[str, TableData] = field(default_factory=dict)
    split: tuple[str, ...] = ()
    subjects: Mapping[str, int] = field(default_factory=dict)
    persons: bool = False


PlanShapes = Callable[[Sequence[str]], Sequence[str]]
"""From queries in PostgreSQL's dialect, over the metadata's names of tables, to how a server would run each: which
tables it reads and joins in what way; empty where it can't."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedCopy:
    """A copy as the target's server holds it, aside from what is live.

    Attributes:
        url: For SQLAlchemy. It holds the password, and is never shown.
        tables: Schema and name of each table there, by its name in the copy.
        shapes: The plans that the server makes over them.
        discard: To be called where the copy will not be published; else `publish` goes on from what is loaded.
    """

    url: str = field(repr=False)
    tables: Mapping[str, tuple[str, str]]
    shapes: PlanShapes = field(repr=False)
    discard: Callable[[], None] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """What a check may look at.

    Attributes:
        snapshot: The real data.
        copy: The synthetic data.
        thresholds: The limits that the user or the policy changed, by measure; a check uses its own default where a
            name is missing.
        seed: For anything drawn at random.
        suites: The user's Great Expectations suites, by the file they came from; each names its table in
            `meta.synth_ops.table`.
        queries: The user's own queries, by name.
        audit: For what needs subjects that the model did not see; None where it is not asked for, or could not be
            made.
        no_audit: Why it could not be made; empty where it was not asked for.
        stage: Loads the copy into the target, aside, and says where it stands; once, however often it is called. It
            raises a `SynthOpsError` where that can't be. None where the target is none that could, or the recipe does
            not let it.
        source_shapes: The plans that the source's own server makes; None where it makes none.
    """

    snapshot: Snapshot
    copy: SyntheticCopy
    thresholds: Mapping[str, Threshold]
    seed: int
    suites: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    queries: Mapping[str, str] = field(default_factory=dict)
    audit: Audit | None = None
    no_audit: str = ""
    stage: Callable[[], StagedCopy] | None = None
    source_shapes: PlanShapes | None = None


class Check(Protocol):
    """One kind of measurement. Constructed without arguments."""

    name: str
    version: str
    thresholds: Mapping[str, Threshold]
    """Every measure that can be given other limits, with the defaults: what a recipe's `gate.thresholds` may name."""

    def evaluate(self, context: CheckContext) -> Sequence[Evidence]:
        """Measure. Evidence holds names and numbers, never cell values."""


class SuiteBuilder(Protocol):
    """A function that builds Great Expectations suites in Python; it is called when a gate is put together."""

    def __call__(self) -> Iterable[ExpectationSuite]:
        """Suites, each about the table that it is named after, or that its `meta["synth_ops"]["table"]` names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixtures:
    """Rows of one table that every publication leaves in the target, with their keys.

    Attributes:
        where: A condition on the live table's rows, in the target's SQL; empty for none.
        rows: Rows spelt out, by the names of their columns.
    """

    where: str = ""
    rows: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRules:
    """What a recipe says about going live, for targets that have the capability.

    Attributes:
        deny: Patterns (`*prod*`) of names of hosts and databases that must never be a target.
        on_mismatch: What to do about a live table that differs from the copy's.
        recreate_dependents: Whether views and foreign keys outside the live schemas are made to follow the tables.
        kept: Tables that stay in the target as they are.
        fixtures: Rows that stay, by table.
        append: Whether all rows stay, and the copy's are added to them.
        lock_timeout_ms: The longest that one attempt to swap may hold up readers.
        deadline_s: When attempts end.
    """

    deny: tuple[str, ...] = ()
    on_mismatch: Mismatch = Mismatch.FAIL
    recreate_dependents: bool = False
    kept: frozenset[str] = frozenset()
    fixtures: Mapping[str, Fixtures] = field(default_factory=dict)
    append: bool = False
    lock_timeout_ms: int = 500
    deadline_s: float = 120.0


class Capability(StrEnum):
    """What a target can do beyond `Target`; all but the first two are named like the fields of `PublishRules`."""

    MARKER = "marker"
    """It is a `MarkedTarget`: it must be marked as a non-production database first."""
    STAGING = "staging"
    """It is a `StagingTarget`: many workers may load a copy's tables; to any other target one process publishes."""
    DENY = "deny"
    ON_MISMATCH = "on_mismatch"
    DEPENDENTS = "recreate_dependents"
    KEEP = "kept"
    FIXTURES = "fixtures"
    APPEND = "append"
    LOCK_TIMEOUT = "lock_timeout_ms"
    DEADLINE = "deadline_s"


RULES = frozenset(Capability) - {Capability.MARKER, Capability.STAGING}
"""What a target of a database server follows."""


class Target(Protocol):
    """A non-production database that copies are published to. Constructed as `Target(location)`; opens nothing.

    One that has any of `RULES` among its `capabilities` is constructed as `Target(location, rules=PublishRules(...))`,
    and is asked for none of the others.
    """

    version: str
    capabilities: frozenset[Capability]

    def publish(
        self,
        metadata: Metadata,
        tables: Mapping[str, TableData],
        *,
        copy_id: str,
        keep: int,
        progress: ProgressListener,
    ) -> Generation:
        """Load the copy aside, enforce its constraints there, then swap it in atomically.

        Publishing the copy that is live already changes nothing and returns its generation. On any failure what was
        live is live still, and nothing is left behind that the next call does not remove.

        Args:
            keep: How many generations to keep, the live one included.

        Raises:
            PublishRefusedError: What stands at the location is not a database that this tool published.
            TargetUnavailableError: It can't be written.
            PublishError: The copy breaks a constraint that the target enforces.
        """

    def rollback(self) -> Generation:
        """Swap the generation before the live one back in.

        Raises:
            PublishRefusedError: There is none.
        """

    def generations(self) -> Sequence[Generation]:
        """What the target remembers, oldest first; empty when nothing was ever published to it."""


class StagingTarget(Target, Protocol):
    """A target whose tables any worker may load, one at a time, before `publish` swaps them in.

    `publish` goes on from what was loaded of its copy, and loads itself what is missing. Whoever begins with another
    copy ends what was under way.
    """

    def begin(self, metadata: Metadata, tables: Mapping[str, TableData], *, copy_id: str) -> str | None:
        """Make a place to load a copy into, or find the one that was made for it.

        Returns:
            A token, to be shown by those who load; None where there is nothing to be done apart: the copy is live, or
            the rules tie its tables together.

        Raises:
            PublishError: As `publish` does.
        """

    def load(self, metadata: Metadata, table: str, data: TableData, *, copy_id: str, token: str) -> None:
        """Load one table, whole or not at all; one that is loaded already stays as it is.

        Raises:
            PublishRefusedError: Another run has begun since.
            PublishError: The target does not take the rows.
        """


@runtime_checkable
class ShowingTarget(Protocol):
    """A target that lets the gate see a copy as its server will hold it."""

    def show(
        self, metadata: Metadata, tables: Mapping[str, TableData], *, copy_id: str, progress: ProgressListener
    ) -> AbstractContextManager[StagedCopy]:
        """Load a copy where no reader looks, as `publish` begins, and keep it while the context is open.

        Raises:
            PublishError: As `publish` does.
        """


@runtime_checkable
class PlanningSource(Protocol):
    """A source that says how it would run queries."""

    def plan_shapes(self, metadata: Metadata, queries: Sequence[str]) -> Sequence[str]:
        """Plan queries without running them; see `PlanShapes`.

        Raises:
            SourceError: The source can't be asked.
        """


@runtime_checkable
class Identified(Protocol):
    """A source or target that can say what it really is."""

    def identity(self) -> str:
        """What tells this database apart from all others, by whatever name and on whatever replica it is reached.

        A PostgreSQL database: `postgresql:<identifier of the cluster>:<oid of the database>`.

        Raises:
            SourceError, TargetUnavailableError: It can't be reached.
        """


@runtime_checkable
class Compared(Protocol):
    """A target whose tables may have been altered by migrations."""

    def differences(self, metadata: Metadata) -> Mapping[str, Sequence[str]]:
        """How the live tables differ from a copy's, by table; in names and types.

        Raises:
            PublishError: The target can't be read, or must not be written.
        """


class MarkedTarget(Target, Protocol):
    """A target that publishes only where a marker says that the database may be replaced."""

    def database(self) -> str:
        """The database's own name for itself."""

    def mark(self, environment: str, *, confirm: str) -> None:
        """Put the marker there.

        Args:
            environment: Its name: `staging`, `test`, ...
            confirm: The database's name, typed by somebody who means it.

        Raises:
            PublishRefusedError: The environment sounds like production, or another database was meant.
        """


GeneratorFactory = Callable[..., Generator]
