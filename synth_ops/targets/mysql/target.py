"""Publishing to MySQL and MariaDB."""

from __future__ import annotations

import contextlib
import logging
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pymysql

from synth_ops import sql
from synth_ops.artifacts import Generation, TableData
from synth_ops.errors import PublishRefusedError, TargetUnavailableError
from synth_ops.location import Location
from synth_ops.metadata import Metadata, Table
from synth_ops.mysql_server import LOCKED, Connection, code_of, rows, server_identity
from synth_ops.ports import Capability, ProgressListener
from synth_ops.targets.constraints import refuse_colliding_names, verify
from synth_ops.targets.mysql import declarations, history
from synth_ops.targets.mysql.carry_over import carry_over
from synth_ops.targets.mysql.connection import GONE, connected, explained
from synth_ops.targets.mysql.history import History, Stored
from synth_ops.targets.mysql.loading import load
from synth_ops.targets.publication import Published, Tick, refuse_production, ticks, tidying, worth_keeping

logger = logging.getLogger(__name__)

_FIXED_TICKS = 5
_DEADLINE_S = 60.0
_MOST_CHARACTERS = 64
_IN_THE_WAY = """
SELECT CONCAT('trigger ', TRIGGER_NAME) FROM information_schema.TRIGGERS
WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE IN %s
UNION ALL
SELECT CONCAT('foreign key ', CONSTRAINT_NAME, ' of table ', TABLE_SCHEMA, '.', TABLE_NAME)
FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_SCHEMA = DATABASE()
AND REFERENCED_TABLE_NAME IN %s AND NOT (TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN %s)
"""


class MySQLTarget:
    """Publishes to a MySQL or MariaDB database that carries the marker; see the package for the protocol."""

    version = "1"
    capabilities = frozenset({Capability.MARKER})

    def __init__(self, location: Location) -> None:
        self._location = location
        self._label = location.label

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
        tick = ticks(progress, len(metadata.tables) + _FIXED_TICKS)
        with self._publishing() as connection:
            before = history.read(connection, self._label)
            if before.live and before.live.published.copy == copy_id:
                return before.live.published.generation(live=True)
            with tempfile.TemporaryDirectory(prefix="synth-ops-") as folder:
                verify(metadata, tables, Path(folder))
                tick("constraints verified")
                history.collect(connection, self._label)
                self._refuse_names(connection, metadata, before)
                new = Stored(
                    published=Published(
                        number=before.highest + 1,
                        copy=copy_id,
                        published_at=datetime.now(UTC).isoformat(timespec="seconds"),
                        previous=before.live.published.number if before.live else 0,
                        tables={name: tables[name].rows for name in metadata.table_names},
                    ),
                    homes={
                        name: f"{history.PREFIX}{before.highest + 1}_{place}"
                        for place, name in enumerate(metadata.table_names, start=1)
                    },
                    swap=before.swap + 1,
                )
                try:
                    self._build(connection, metadata, tables, before, new, Path(folder), tick)
                    history.insert(connection, new)
                    tick("staged")
                    self._swap(connection, before, new)
                except BaseException as error:
                    self._collect(connection, refused=new if isinstance(error, PublishRefusedError) else None)
                    raise
            tick("swapped")
            self._collect(connection, keep)
            tick("old generations removed")
        return new.published.generation(live=True)

    def rollback(self) -> Generation:
        """Swap the generation before the live one back in; see `ports.Target`."""
        with self._publishing() as connection:
            history.collect(connection, self._label)  # the swap would make a dead run's generation count
            before = history.read(connection, self._label)
            if before.live is None:
                raise PublishRefusedError(f"{self._label} holds no generation", "publish to it first")
            back = before.generations.get(before.live.published.previous)
            if back is None:
                raise PublishRefusedError(
                    f"{self._label} keeps no generation before {before.live.published.number}",
                    "publish another copy instead",
                )
            self._swap(connection, before, back)
        return back.published.generation(live=True)

    def generations(self) -> Sequence[Generation]:
        """What the target remembers, oldest first; takes no lock and writes nothing."""
        with connected(self._location) as connection, explained(self._label, "its history"):
            self._refuse_unmarked(connection)
            found = history.read(connection, self._label)
        live = found.live.published.number if found.live else 0
        return [found.generations[n].published.generation(live=n == live) for n in sorted(found.generations)]

    def database(self) -> str:
        """The database's own name for itself."""
        with connected(self._location) as connection:
            return str(rows(connection, "SELECT database()")[0][0])

    def identity(self) -> str:
        """The server's own identifier (MySQL) or host, port and data folder (MariaDB), and the database."""
        with connected(self._location) as connection, explained(self._label, "its identity"):
            return server_identity(connection)

    def mark(self, environment: str, *, confirm: str) -> None:
        """Say, inside the database, that it may be replaced; see `ports.MarkedTarget`."""
        refuse_production(environment)
        with connected(self._location) as connection, explained(self._label, "the marker"):
            if confirm != rows(connection, "SELECT database()")[0][0]:
                raise PublishRefusedError(
                    f"the database at {self._label} is not called {confirm!r}",
                    "type the name of the database to mark it",
                )
            history.create(connection)
            rows(connection, "DELETE FROM synth_ops_environment")
            marker = (environment, server_identity(connection))
            rows(connection, "INSERT INTO synth_ops_environment VALUES (%s, %s, utc_timestamp())", marker)

    def _build(
        self,
        connection: Connection,
        metadata: Metadata,
        tables: Mapping[str, TableData],
        before: History,
        new: Stored,
        folder: Path,
        tick: Tick,
    ) -> None:
        order = declarations.collation(connection)
        for table in metadata.tables:
            home = new.homes[table.name]
            with explained(self._label, f"table {table.name!r}"):
                native = declarations.create(connection, metadata, table, home, order)
                load(connection, table, home, tables[table.name], folder, native=native)
                declarations.add_keys(connection, table, home, native=native)
            tick(f"table {table.name}")
        for table in metadata.tables:
            with explained(self._label, f"table {table.name!r}"):
                declarations.add_foreign_keys(connection, metadata, table, new.homes)
                if before.live and table.name in before.live.homes:
                    carry_over(connection, table, new.homes[table.name])
        tick("foreign keys")

    def _swap(self, connection: Connection, before: History, new: Stored) -> None:
        """One RENAME of everything, tried again while others hold locks."""
        out = before.live.homes if before.live else {}
        self._refuse_dependents(connection, list(out))
        moves = [(before.pointer, history.pointer(before.swap + 1, new.published.number)), *out.items()]
        moves += [(home, name) for name, home in new.homes.items()]
        renames = ", ".join(f"{sql.quote(one)} TO {sql.quote(other)}" for one, other in moves)
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            try:
                rows(connection, f"RENAME TABLE {renames}")
            except pymysql.Error as error:
                if code_of(error) in GONE:
                    raise PublishRefusedError(
                        f"{self._label}: another run swapped a generation in, or somebody dropped tables of this one",
                        "publish again, if this one is to win",
                    ) from None
                if code_of(error) not in LOCKED:
                    self._resolve(before, new, error)
                    return
                if time.monotonic() > deadline:
                    raise TargetUnavailableError(
                        f"{self._label}: others held locks on the live tables for {_DEADLINE_S:.0f} s",
                        "end long transactions on the target, or publish again when they are done",
                    ) from None
                time.sleep(random.uniform(0.1, 1.0))  # noqa: S311  jitter, no secret
            else:
                return

    def _resolve(self, before: History, new: Stored, error: pymysql.Error) -> None:
        """Find out whether a RENAME was made whose answer was lost, when the server has done with the lost session."""
        with connected(self._location) as connection:
            database = str(rows(connection, "SELECT database()")[0][0])
            with history.publishing(connection, database, self._label, wait_s=_DEADLINE_S):
                now = history.read(connection, self._label)
        if (now.swap, now.live and now.live.published.number) != (before.swap + 1, new.published.number):
            raise error
        logger.info("the connection broke at the swap, which was made")

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
            history.collect(connection, self._label, unwanted)

    def _refuse_names(self, connection: Connection, metadata: Metadata, before: History) -> None:
        refuse_colliding_names(metadata, lambda table: table.name, "synth_ops_generation", "MySQL")
        long = [name for table in metadata.tables for name in _names_of(table) if len(name) > _MOST_CHARACTERS]
        ours = [table.name for table in metadata.tables if table.name.startswith(history.PREFIX)]
        if long or ours:
            raise PublishRefusedError(
                f"names that MySQL or this tool can't have there: {', '.join(map(repr, [*long, *ours]))}",
                "rename them in the source, or exclude them",
            )
        live = before.live.homes if before.live else {}
        others = sorted((set(metadata.table_names) - set(live)) & history.names(connection))
        if others:
            raise PublishRefusedError(
                f"{self._label} has tables that were not published by synth_ops: {', '.join(others)}",
                "rename or drop them, or exclude those tables from the copy",
            )
        self._refuse_dependents(connection, list(live))

    def _refuse_dependents(self, connection: Connection, live: Sequence[str]) -> None:
        found = rows(connection, _IN_THE_WAY, (live, live, live)) if live else []
        if found:
            raise PublishRefusedError(
                f"{self._label}: what can't follow the tables depends on them: {'; '.join(name for (name,) in found)}",
                "drop it",
            )

    def _refuse_unmarked(self, connection: Connection) -> None:
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

    @contextlib.contextmanager
    def _publishing(self) -> Iterator[Connection]:
        with connected(self._location) as connection, explained(self._label, "the publication"):
            self._refuse_unmarked(connection)
            database = str(rows(connection, "SELECT database()")[0][0])
            with history.publishing(connection, database, self._label):
                yield connection


def _names_of(table: Table) -> Iterator[str]:
    """Its own name and those of its columns."""
    yield table.path[-1]
    yield from table.column_names
