"""Publishing to PostgreSQL, from the first look to the last clean-up."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import duckdb
import psycopg

from synth_ops import sql
from synth_ops.artifacts import Generation, TableData
from synth_ops.errors import PublishRefusedError
from synth_ops.location import Location
from synth_ops.metadata import Metadata
from synth_ops.ports import RULES, Capability, ProgressListener, PublishRules, StagedCopy
from synth_ops.postgresql_plans import plan_shapes
from synth_ops.postgresql_server import sqlalchemy_url
from synth_ops.targets.postgresql import dependents, guard, history, staging
from synth_ops.targets.postgresql.building import Site
from synth_ops.targets.postgresql.connection import Connection, connected, explained
from synth_ops.targets.postgresql.definitions import Place, place_of, place_sql
from synth_ops.targets.postgresql.draft import Draft, differences
from synth_ops.targets.postgresql.history import History, Stored
from synth_ops.targets.postgresql.materialized import Replacement, prepare
from synth_ops.targets.postgresql.swap import Change, Failpoint, Patience, Surroundings, oids, stamp, swap
from synth_ops.targets.publication import Published, Tick, ticks, tidying, worth_keeping

logger = logging.getLogger(__name__)

_FIXED_TICKS = 7


class PostgreSQLTarget:
    """Publishes to a PostgreSQL database that carries the marker; see the package for the protocol.

    Args:
        rules: What the recipe says about going live.
        at: Called at every named point of the way; for tests, which kill the process there.
    """

    version = "1"
    capabilities = RULES | {Capability.MARKER, Capability.STAGING}

    def __init__(self, location: Location, *, rules: PublishRules | None = None, at: Failpoint | None = None) -> None:
        self._location = location
        self._label = location.label
        self._rules = rules or PublishRules()
        self._at = at or _unheard

    def publish(
        self,
        metadata: Metadata,
        tables: Mapping[str, TableData],
        *,
        copy_id: str,
        keep: int,
        progress: ProgressListener,
    ) -> Generation:
        """Load the copy into schemas of its own, enforce its constraints there, swap it in; see `ports.Target`."""
        with self._publishing() as connection:
            site = self._site(connection, metadata, copy_id)
            if site.before.live and site.is_live:
                return site.before.live.published.generation(live=True)
            with sql.connect() as reader:
                return self._publish(site, reader, tables, keep=keep, progress=progress)

    def begin(self, metadata: Metadata, tables: Mapping[str, TableData], *, copy_id: str) -> str | None:
        """Open a stage for the copy, or go on with the one that is open for it; see `ports.StagingTarget`."""
        with self._publishing() as connection:
            site = self._site(connection, metadata, copy_id)
            if site.is_live or not site.apart:
                return None
            with sql.connect() as reader:
                return site.open(reader, tables, _unheard).stage.token

    def load(self, metadata: Metadata, table: str, data: TableData, *, copy_id: str, token: str) -> None:
        """Load one table into the stage; see `ports.StagingTarget`."""
        with connected(self._location) as connection, explained(self._label, "the publication"):
            guard.refuse_unmarked(connection, self._label, self._rules.deny)
            site = self._site(connection, metadata, copy_id)
            if not site.is_live:
                with sql.connect() as reader:
                    site.join(token).load(reader, table, data)

    @contextlib.contextmanager
    def show(
        self, metadata: Metadata, tables: Mapping[str, TableData], *, copy_id: str, progress: ProgressListener
    ) -> Iterator[StagedCopy]:
        """Load the copy into its stage, and keep others from it meanwhile; see `ports.ShowingTarget`."""
        discarded: list[bool] = []
        with self._publishing() as connection:
            site = self._site(connection, metadata, copy_id)
            tick = self._ticks(progress, len(site.wanted) + 1)
            places = {table.name: place_of(table) for table in site.wanted}
            if not site.is_live:
                with sql.connect() as reader:
                    build = site.open(reader, tables, tick)
                    build.fill(reader, tables, tick)
                places = {each.table.name: each.built for each in build.plan.plans}
            try:
                with explained(self._label, "the staged tables"):
                    connection.execute(f"ANALYZE {', '.join(map(place_sql, places.values()))}" if places else "SELECT")
                yield StagedCopy(
                    url=sqlalchemy_url(self._location, sorted({schema for schema, _ in places.values()})),
                    tables=places,
                    shapes=lambda queries: plan_shapes(connection, queries, places),
                    discard=lambda: discarded.append(True),
                )
            finally:
                if discarded and not site.is_live:
                    self._collect(connection)

    def rollback(self) -> Generation:
        """Swap the generation before the live one back in; see `ports.Target`."""
        with self._publishing() as connection:
            before = history.read(connection)
            live = before.live
            if live is None:
                raise PublishRefusedError(f"{self._label} holds no generation", "publish to it first")
            back = before.generations.get(live.published.previous)
            if back is None:
                raise PublishRefusedError(
                    f"{self._label} keeps no generation before {live.published.number}", "publish another copy instead"
                )
            standing = oids(connection, list(live.homes))
            at_home = oids(connection, [(home, name) for (_, name), home in back.homes.items()])
            into = {place: home for place, home in back.homes.items() if (home, place[1]) in at_home}
            self._refuse_occupied(connection, into, standing)
            change = Change(
                number=back.published.number,
                fence=before.fence,
                out={place: live.homes[place] for place in standing},
                into=into,
                stamp=stamp(connection, list(standing.values())),
                materialized=self._materialized(connection, list(standing), back.homes, back.published.number),
            )
            swap(connection, change, self._surroundings(frozenset()))
            self._collect(connection)
        return back.published.generation(live=True)

    def generations(self) -> Sequence[Generation]:
        """What the target remembers, oldest first; takes no lock and writes nothing."""
        with connected(self._location) as connection, explained(self._label, "its history"):
            guard.refuse_unmarked(connection, self._label, self._rules.deny)
            found = history.read(connection)
        live = found.live.published.number if found.live else 0
        return [found.generations[n].published.generation(live=n == live) for n in sorted(found.generations)]

    def differences(self, metadata: Metadata) -> Mapping[str, Sequence[str]]:
        """How the live tables differ from a copy's; see `ports.Compared`."""
        wanted = [table for table in metadata.tables if table.name not in self._rules.kept]
        with connected(self._location) as connection, explained(self._label, "its tables"):
            guard.refuse_unmarked(connection, self._label, self._rules.deny)
            return differences(connection, wanted, oids(connection, [place_of(table) for table in wanted]))

    def database(self) -> str:
        """The database's own name for itself."""
        with connected(self._location) as connection:
            return str(connection.execute("SELECT current_database()").fetchall()[0][0])

    def identity(self) -> str:
        """The cluster's identifier and the database's number in it; see `ports.Identified`."""
        with connected(self._location) as connection, explained(self._label, "its identity"):
            return ":".join(("postgresql", *guard.identity(connection)))

    def mark(self, environment: str, *, confirm: str) -> None:
        """Say, inside the database, that it may be replaced; see `ports.MarkedTarget`."""
        with connected(self._location) as connection, explained(self._label, "the marker"):
            guard.refuse_denied(connection, self._label, self._rules.deny)
            guard.mark(connection, self._label, environment=environment, confirm=confirm)

    def _publish(
        self,
        site: Site,
        reader: duckdb.DuckDBPyConnection,
        tables: Mapping[str, TableData],
        *,
        keep: int,
        progress: ProgressListener,
    ) -> Generation:
        connection = site.connection
        tick = self._ticks(progress, len(site.wanted) + _FIXED_TICKS)
        build = site.open(reader, tables, tick)
        try:
            plan, rows = build.plan, build.fill(reader, tables, tick)
            build.finish(tick)
            views = self._materialized(connection, list(plan.out), plan.homes, plan.number)
            tick("staged")
            published = Published(
                number=plan.number,
                copy=site.copy,
                published_at=datetime.now(UTC).isoformat(timespec="seconds"),
                previous=plan.previous,
                tables=rows,
            )
            new = Stored(published=published, homes=plan.homes, rules=site.law)
            swap(connection, _change(site.before, plan, new, views), self._surroundings(site.kept))
        except BaseException:
            self._collect(connection)
            raise
        tick("swapped")
        self._collect(connection, keep)
        tick("old generations removed")
        return published.generation(live=True)

    def _materialized(
        self, connection: Connection, live: Sequence[Place], homes: Mapping[Place, str], number: int
    ) -> Mapping[int, Replacement]:
        """Materialized views to come, where the recipe asks for them; the swap refuses them where it does not."""
        if not self._rules.recreate_dependents:
            return {}
        found = dependents.find(connection, list(oids(connection, live).values()))
        with explained(self._label, "materialized views"):
            return prepare(connection, found, homes, number=number, label=self._label)

    def _refuse_occupied(
        self, connection: Connection, into: Mapping[Place, str], standing: Mapping[Place, int]
    ) -> None:
        occupied = [".".join(place) for place in oids(connection, list(into)) if place not in standing]
        if occupied:
            raise PublishRefusedError(
                f"{self._label}: tables that are not of the live generation stand in the way: {', '.join(occupied)}",
                "rename or drop them",
            )

    def _collect(self, connection: Connection, keep: int | None = None) -> None:
        """Remove what this run, or a dead one, has left; after a swap, the generations that are not to be kept."""
        if connection.broken or connection.closed:
            logger.info("the connection broke: the next run removes what is left over")
            return
        with tidying(self._label, psycopg.Error):
            staging.close(connection, self._label)
            found = history.read(connection)
            unwanted: list[int] = []
            if found.live and keep:
                others = {n: each.published for n, each in found.generations.items() if each is not found.live}
                unwanted = sorted(others.keys() - worth_keeping(keep, found.live.published, others))
            history.collect(connection, unwanted)

    @contextlib.contextmanager
    def _publishing(self) -> Iterator[Connection]:
        with connected(self._location) as connection, explained(self._label, "the publication"):
            guard.refuse_unmarked(connection, self._label, self._rules.deny)
            self._at("marker seen")
            with history.publishing(connection, self._label):
                self._at("lock taken")
                yield connection

    def _ticks(self, progress: ProgressListener, total: int) -> Tick:
        told = ticks(progress, total)

        def tick(item: str) -> None:
            self._at(item)
            told(item)

        return tick

    def _surroundings(self, kept: frozenset[Place]) -> Surroundings:
        return Surroundings(
            location=self._location,
            recreate_dependents=self._rules.recreate_dependents,
            kept=kept,
            patience=Patience(lock_timeout_ms=self._rules.lock_timeout_ms, deadline_s=self._rules.deadline_s),
            at=self._at,
        )

    def _site(self, connection: Connection, metadata: Metadata, copy_id: str) -> Site:
        return Site(
            connection=connection,
            before=history.read(connection),
            metadata=metadata,
            copy=copy_id,
            rules=self._rules,
            label=self._label,
            at=self._at,
        )


def _change(before: History, plan: Draft, new: Stored, views: Mapping[int, Replacement]) -> Change:
    return Change(
        number=plan.number,
        fence=before.fence,
        out=plan.out,
        into=plan.homes,
        stamp=plan.stamp,
        rows=[*plan.earlier, new],
        materialized=views,
    )


def _unheard(point: str) -> None:
    """Nobody listens."""
