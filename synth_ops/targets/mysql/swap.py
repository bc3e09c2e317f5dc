"""The swap: one RENAME of everything, which the server makes all or nothing."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

import pymysql

from synth_ops import sql
from synth_ops.errors import PublishRefusedError, TargetUnavailableError
from synth_ops.location import Location
from synth_ops.mysql_server import LOCKED, Connection, code_of, is_mariadb, rows
from synth_ops.ports import PublishRules
from synth_ops.targets.mysql import dependents, history
from synth_ops.targets.mysql.connection import GONE, connected
from synth_ops.targets.mysql.history import History

logger = logging.getLogger(__name__)

_OUT_OF_TIME = 1969
"""MariaDB's, for `max_statement_time`."""
_RESOLVE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a swap is to do.

    Attributes:
        before: What was live when the work began; another swap since then makes this run stale.
        number: The generation that is live afterwards.
        out: The live tables to clear away, and where they go.
        into: Their successors' names, and where they come from.
    """

    before: History
    number: int
    out: Mapping[str, str]
    into: Mapping[str, str]

    @property
    def pointer(self) -> str:
        """What the pointer is called afterwards."""
        return history.pointer(self.before.swap + 1, self.number)

    def is_made(self, now: History) -> bool:
        """Whether this swap is the last one that was made."""
        return now.pointer == self.pointer


def swap(connection: Connection, location: Location, change: Change, rules: PublishRules) -> None:
    """Swap, trying again while others hold locks; foreign keys of tables that stay come along.

    Raises:
        PublishRefusedError: Another run was first; something can't follow the tables.
        TargetUnavailableError: Others held locks until the deadline.
    """
    label = location.label
    found = dependents.followers(connection, label, change.out, kept=rules.kept, recreate=rules.recreate_dependents)
    dependents.follow(connection, label, found, change.into)
    moves = [(change.before.pointer, change.pointer), *change.out.items()]
    moves += [(home, name) for name, home in change.into.items()]
    renames = ", ".join(f"{sql.quote(one)} TO {sql.quote(other)}" for one, other in moves)
    statement = f"{_patience(connection, rules.lock_timeout_ms)}RENAME TABLE {renames}"
    deadline = time.monotonic() + rules.deadline_s
    while not _attempt(connection, location, change, statement):
        if time.monotonic() > deadline:
            raise TargetUnavailableError(
                f"{label}: others held locks on the live tables for {rules.deadline_s:.0f} s",
                "end long transactions on the target, or publish again when they are done",
            )
        time.sleep(random.uniform(0.1, 1.0))  # noqa: S311  jitter, no secret


def resolve(location: Location, change: Change, error: pymysql.Error) -> None:
    """Find out whether a RENAME was made whose answer was lost, when the server has done with the lost session."""
    with connected(location) as connection:
        database = str(rows(connection, "SELECT database()")[0][0])
        with history.publishing(connection, database, location.label, wait_s=_RESOLVE_S):
            now = history.read(connection, location.label)
    if not change.is_made(now):
        raise error
    logger.info("the connection broke at the swap, which was made")


def _attempt(connection: Connection, location: Location, change: Change, statement: str) -> bool:
    """Whether the swap is made; not where others hold locks."""
    try:
        rows(connection, statement)
    except pymysql.Error as error:
        if code_of(error) in GONE:
            raise PublishRefusedError(
                f"{location.label}: another run swapped a generation in, or somebody dropped tables of this one",
                "publish again, if this one is to win",
            ) from None
        if code_of(error) in LOCKED:
            return False
        if code_of(error) == _OUT_OF_TIME:
            return change.is_made(history.read(connection, location.label))
        resolve(location, change, error)
    return True


def _patience(connection: Connection, lock_timeout_ms: int) -> str:
    """How long a RENAME may wait for readers, while it holds others up: MySQL itself knows whole seconds alone."""
    if is_mariadb(connection):
        return f"SET STATEMENT max_statement_time = {lock_timeout_ms / 1000:.3f} FOR "
    rows(connection, f"SET SESSION lock_wait_timeout = {max(1, math.ceil(lock_timeout_ms / 1000))}")
    return ""
