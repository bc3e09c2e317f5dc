"""Publishing to MySQL and MariaDB."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import pymysql

from synth_ops import sql
from synth_ops.artifacts import Generation, TableData
from synth_ops.errors import PublishRefusedError
from synth_ops.location import Location
from synth_ops.metadata import Metadata
from synth_ops.mysql_server import Connection, rows, server_identity, server_url
from synth_ops.ports import RULES, Capability, ProgressListener, PublishRules
from synth_ops.targets.constraints import verify
from synth_ops.targets.mysql import dependents, history
from synth_ops.targets.mysql.building import build
from synth_ops.targets.mysql.connection import connected, explained
from synth_ops.targets.mysql.draft import differences, draft
from synth_ops.targets.mysql.history import Stored
from synth_ops.targets.mysql.swap import Change, swap
from synth_ops.targets.publication import (
    Published,
    law_of,
    refuse_denied,
    refuse_production,
    ticks,
    tidying,
    worth_keeping,
)

logger = logging.getLogger(__name__)

_FIXED_TICKS = 5


class MySQLTarget:
    """Publishes to a MySQL or MariaDB database that carries the marker; see the package for the protocol.

    Args:
        rules: What the recipe says about going live. MySQL itself waits for locks in whole seconds.
    """

    version = "2"
    capabilities = RULES | {Capability.MARKER}

    def __init__(self, location: Location, *, rules: PublishRules | None = None) -> None:
        self._location = location
        self._label = location.label
        self._rules = rules or PublishRules()

    def publish(
        self,
        metadata: Metadata,
        tables: Mapping[str, TableData],
        *,
        copy_id: str,
        keep: int,
        progress: ProgressListener,
    ) -> Generation:
        """Load the copy beside the live tables, enforce its constraints, swap it in; see `ports.Target`."""
        wanted = [table for table in metadata.tables if table.name not in self._rules.kept]
        tick = ticks(progress, len(wanted) + _FIXED_TICKS)
        rules = law_of(self._rules)
        with self._publishing() as connection:
            before = history.read(connection, self._label)
            if before.live and (before.live.published.copy, before.live.rules) == (copy_id, rules):
                return before.live.published.generation(live=True)
            with sql.connect() as reader:
                verify(reader, _without(metadata, self._rules.kept), tables)
            tick("constraints verified")
            self._collect_all(connection)
            plan = draft(connection, before, metadata, rules=self._rules, label=self._label)
            new = None
            try:
                rows_of = build(connection, metadata, plan, tables, self._rules, label=self._label, tick=tick)
                published = Published(
                    number=plan.number,
                    copy=copy_id,
                    published_at=datetime.now(UTC).isoformat(timespec="seconds"),
                    previous=plan.previous,
                    tables=rows_of,
                )
                new = Stored(published=published, homes=plan.homes, rules=rules, swap=before.swap + 1)
                for each in (*plan.earlier, new):
                    history.write(connection, each)
                tick("staged")
                change = Change(before=before, number=plan.number, out=plan.out, into=plan.into)
                swap(connection, self._location, change, self._rules)
            except BaseException as error:
                self._collect(connection, refused=new if isinstance(error, PublishRefusedError) else None)
                raise
            tick("swapped")
            self._collect(connection, keep)
            tick("old generations removed")
        return published.generation(live=True)

    def rollback(self) -> Generation:
        """Swap the generation before the live one back in; see `ports.Target`."""
        with self._publishing() as connection:
            self._collect_all(connection)  # the swap would make a dead run's generation count
            before = history.read(connection, self._label)
            if before.live is None:
                raise PublishRefusedError(f"{self._label} holds no generation", "publish to it first")
            back = before.generations.get(before.live.published.previous)
            if back is None:
                raise PublishRefusedError(
                    f"{self._label} keeps no generation before {before.live.published.number}",
                    "publish another copy instead",
                )
            there = history.names(connection)
            into = {name: home for name, home in back.homes.items() if home in there}
            kept = back.homes.keys() - into.keys()
            out = {name: home for name, home in before.live.homes.items() if name in there and name not in kept}
            change = Change(before=before, number=back.published.number, out=out, into=into)
            try:
                swap(connection, self._location, change, self._rules)
            finally:
                self._collect(connection)
        return back.published.generation(live=True)

    def generations(self) -> Sequence[Generation]:
        """What the target remembers, oldest first; takes no lock and writes nothing."""
        with connected(self._location) as connection, explained(self._label, "its history"):
            self._refuse_unmarked(connection)
            found = history.read(connection, self._label)
        live = found.live.published.number if found.live else 0
        return [found.generations[n].published.generation(live=n == live) for n in sorted(found.generations)]

    def differences(self, metadata: Metadata) -> Mapping[str, Sequence[str]]:
        """How the live tables differ from a copy's; see `ports.Compared`."""
        wanted = [table for table in metadata.tables if table.name not in self._rules.kept]
        with connected(self._location) as connection, explained(self._label, "its tables"):
            self._refuse_unmarked(connection)
            return differences(connection, metadata, wanted)

    def database(self) -> str:
        """The database's own name for itself."""
        with connected(self._location) as connection:
            return self._name(connection)

    def identity(self) -> str:
        """The server's own identifier (MySQL) or host, port and data folder (MariaDB), and the database."""
        with connected(self._location) as connection, explained(self._label, "its identity"):
            return server_identity(connection)

    def mark(self, environment: str, *, confirm: str) -> None:
        """Say, inside the database, that it may be replaced; see `ports.MarkedTarget`."""
        refuse_production(environment)
        with connected(self._location) as connection, explained(self._label, "the marker"):
            self._refuse_denied(connection)
            if confirm != self._name(connection):
                raise PublishRefusedError(
                    f"the database at {self._label} is not called {confirm!r}",
                    "type the name of the database to mark it",
                )
            history.create(connection)
            rows(connection, "DELETE FROM synth_ops_environment")
            marker = (environment, server_identity(connection))
            rows(connection, "INSERT INTO synth_ops_environment VALUES (%s, %s, utc_timestamp())", marker)

    def _collect(self, connection: Connection, keep: int | None = None, *, refused: Stored | None = None) -> None:
        """Remove what this run, or a dead one, has left; after a swap, the generations that are not to be kept.

        Args:
            refused: A generation that is struck out, as its swap was refused: another swap may have its number.
        """
        if not connection.open:
            logger.info("the connection broke: the next run removes what is left over")
            return
        with tidying(self._label, pymysql.Error):
            if refused:
                history.forget(connection, refused)
            found = history.read(connection, self._label)
            unwanted: list[int] = []
            if found.live and keep:
                others = {n: each.published for n, each in found.generations.items() if each is not found.live}
                unwanted = sorted(others.keys() - worth_keeping(keep, found.live.published, others))
            dependents.settle(connection)
            history.collect(connection, self._label, unwanted)

    def _collect_all(self, connection: Connection) -> None:
        """Remove what dead runs have left, before the work begins."""
        dependents.settle(connection)
        history.collect(connection, self._label)

    def _refuse_unmarked(self, connection: Connection) -> None:
        self._refuse_denied(connection)
        marked = []
        if "synth_ops_environment" in history.names(connection):
            marked = rows(connection, "SELECT identity FROM synth_ops_environment")
        hint = "if it may be replaced every night, run once: synth-ops target init RECIPE --environment staging"
        if len(marked) != 1:
            raise PublishRefusedError(f"{self._label} is not marked as a non-production database", hint)
        if marked[0][0] != server_identity(connection):
            raise PublishRefusedError(
                f"{self._label} carries the marker of another database, which it was copied from", hint
            )

    def _refuse_denied(self, connection: Connection) -> None:
        names = {host for host, _ in server_url(self._location).hosts} | {self._name(connection)}
        refuse_denied(names, self._label, self._rules.deny)

    def _name(self, connection: Connection) -> str:
        return str(rows(connection, "SELECT database()")[0][0])

    @contextlib.contextmanager
    def _publishing(self) -> Iterator[Connection]:
        with connected(self._location) as connection, explained(self._label, "the publication"):
            self._refuse_unmarked(connection)
            with history.publishing(connection, self._name(connection), self._label):
                yield connection


def _without(metadata: Metadata, kept: frozenset[str]) -> Metadata:
    """The tables that are published, with those references that the copy alone must keep."""
    return dataclasses.replace(
        metadata,
        tables=tuple(
            dataclasses.replace(table, foreign_keys=tuple(k for k in table.foreign_keys if k.parent not in kept))
            for table in metadata.tables
            if table.name not in kept
        ),
    )
