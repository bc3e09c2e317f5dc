"""Publishing to PostgreSQL, from the first look to the last clean-up."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from synth_ops import sql
from synth_ops.artifacts import Generation, TableData
from synth_ops.errors import PublishRefusedError
from synth_ops.fingerprint import fingerprint
from synth_ops.location import Location
from synth_ops.metadata import Metadata, Orphans, Table
from synth_ops.ports import RULES, Capability, ProgressListener, PublishRules
from synth_ops.targets.constraints import enforceable_foreign_keys, verify
from synth_ops.targets.postgresql import carry_over, declarations, dependents, guard, history, schema, staying
from synth_ops.targets.postgresql.connection import Connection, connected, explained
from synth_ops.targets.postgresql.definitions import Place, place_of, place_sql
from synth_ops.targets.postgresql.draft import Draft, differences, draft
from synth_ops.targets.postgresql.history import History, Stored
from synth_ops.targets.postgresql.loading import load
from synth_ops.targets.postgresql.materialized import Replacement, prepare
from synth_ops.targets.postgresql.swap import Change, Failpoint, Patience, Surroundings, oids, stamp, swap
from synth_ops.targets.publication import Published, Tick, ticks, tidying, worth_keeping

logger = logging.getLogger(__name__)

_TICKS_A_TABLE = 2
_FIXED_TICKS = 7


class PostgreSQLTarget:
    """Publishes to a PostgreSQL database that carries the marker; see the package for the protocol.

    Args:
        rules: What the recipe says about going live.
        at: Called at every named point of the way; for tests, which kill the process there.
    """

    version = "1"
    capabilities = RULES | {Capability.MARKER}

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
        wanted = [table for table in metadata.tables if table.name not in self._rules.kept]
        tick = self._ticks(progress, _TICKS_A_TABLE * len(wanted) + _FIXED_TICKS)
        rules = fingerprint(dataclasses.asdict(self._rules) | {"kept": sorted(self._rules.kept)})
        with self._publishing() as connection:
            before = history.read(connection)
            if before.live and (before.live.published.copy, before.live.rules) == (copy_id, rules):
                return before.live.published.generation(live=True)
            with tempfile.TemporaryDirectory(prefix="synth-ops-") as scratch:
                verify(_beyond_the_server(metadata, wanted), tables, Path(scratch))
            tick("constraints verified")
            taken = [history.number_of(home) for home in history.collect(connection)]
            self._at("left-overs collected")
            plan = draft(
                connection, before, wanted, rules=self._rules, kept=self._kept(metadata), label=self._label, taken=taken
            )
            try:
                rows = self._build(connection, metadata, plan, tables, tick)
                views = self._materialized(connection, list(plan.out), plan.homes, plan.number)
                tick("staged")
                published = Published(
                    number=plan.number,
                    copy=copy_id,
                    published_at=datetime.now(UTC).isoformat(timespec="seconds"),
                    previous=plan.previous,
                    tables=rows,
                )
                new = Stored(published=published, homes=plan.homes, rules=rules)
                swap(connection, _change(before, plan, new, views), self._surroundings(self._kept(metadata)))
            except BaseException:
                self._collect(connection)
                raise
            tick("swapped")
            self._collect(connection, keep)
            tick("old generations removed")
        return published.generation(live=True)

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

    def _build(
        self,
        connection: Connection,
        metadata: Metadata,
        plan: Draft,
        tables: Mapping[str, TableData],
        tick: Tick,
    ) -> dict[str, int]:
        """Make the new generation in its homes, whole: all but visible. Returns the tables' numbers of rows."""
        history.create_homes(connection, plan.homes)
        self._at("homes made")
        declarations.create_types(connection, metadata)
        rows = self._fill(connection, metadata, plan, tables, tick)
        for each in plan.plans:
            with explained(self._label, f"table {each.table.name!r}"):
                schema.add_keys(connection, metadata, each, plan.homes)
            tick(f"keys of table {each.table.name}")
        built = {each.place: each.built for each in plan.plans}
        for each in plan.plans:
            with explained(self._label, f"table {each.table.name!r}"):
                schema.add_foreign_keys(connection, metadata, each, built)
                self._at(f"foreign keys of table {each.table.name}")
                schema.set_sequences(connection, each)
        tick("foreign keys")
        with explained(self._label, "what the live tables' users gave them"):
            carry_over.settings(connection, plan.plans, plan.homes)
            tick("settings carried over")
            history.refuse_pooler(connection, self._label)
            connection.execute(f"ANALYZE {', '.join(map(place_sql, built.values()))}" if built else "SELECT")
            tick("analyzed")
            carry_over.owners_and_grants(connection, plan.plans)
        return rows

    def _fill(
        self,
        connection: Connection,
        metadata: Metadata,
        plan: Draft,
        tables: Mapping[str, TableData],
        tick: Tick,
    ) -> dict[str, int]:
        """Create the tables and load the rows: the copy's, and those of the target that stay."""
        stays = staying.gather(connection, metadata, plan.plans, self._rules)
        rows: dict[str, int] = {}
        with sql.connect() as reader:
            shifts = staying.shifts(connection, reader, metadata, tables, stays) if stays else {}
            for each in plan.plans:
                name = each.table.name
                moved = {column: shift for (table, column), shift in shifts.items() if table == name}
                with explained(self._label, f"table {name!r}"), connection.transaction():
                    schema.create(connection, metadata, each)
                    self._at(f"table {name} created")
                    load(connection, reader, each.built, each.table, each.columns, tables[name], moved)
                    self._at(f"table {name} loaded")
                    rows[name] = tables[name].rows + staying.insert(connection, each, stays)
                tick(f"table {name}")
        return rows

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

    def _kept(self, metadata: Metadata) -> frozenset[Place]:
        return frozenset(place_of(table) for table in metadata.tables if table.name in self._rules.kept)


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


def _beyond_the_server(metadata: Metadata, tables: Sequence[Table]) -> Metadata:
    """The metadata with those constraints alone that the server will not enforce for certain."""
    enforced = {table.name: enforceable_foreign_keys(metadata, table) for table in tables}
    left = []
    for table in metadata.tables:
        columns = {frozenset(zip(key.columns, key.parent_columns, strict=True)) for key in enforced.get(table.name, ())}
        left.append(
            dataclasses.replace(
                table,
                primary_key=(),
                uniques=(),
                columns=tuple(dataclasses.replace(column, nullable=True) for column in table.columns),
                foreign_keys=tuple(
                    key
                    for key in table.foreign_keys
                    if key.orphans is Orphans.REPAIR
                    and frozenset(zip(key.columns, key.parent_columns, strict=True)) not in columns
                ),
            )
        )
    return Metadata(tables=tuple(left))


def _unheard(point: str) -> None:
    """Nobody listens."""
