"""The stage: what a database remembers of a generation that is being built, by one process or by many.

The one row of `synth_ops.stage` is the publication under way, and its token is what every worker shows. A table that a
worker loads is a row of `synth_ops.staged`, written in the transaction that makes the table: it refers to the stage, so
that a worker whose stage was closed is refused; two workers on one table wait for each other, and the second one finds
it loaded; and a worker that was killed leaves nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from psycopg import errors

from synth_ops.errors import PublishRefusedError, TargetUnavailableError
from synth_ops.targets.postgresql.connection import WAIT_AND_RETRY, Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One generation under way.

    Attributes:
        token: What a worker must show.
        copy: Id of the copy.
        rules: A fingerprint of the recipe's rules that it is published by.
        fence: The last swap that was seen when the work began.
        taken: The highest number of a dead generation that could not be removed then.
        stamp: Of the live tables when their successors were begun.
        closing: Whether its tables are all there, and what follows is begun; that is done once, or all over again.
    """

    token: str
    copy: str
    rules: str
    fence: int
    taken: int
    stamp: str
    closing: bool = False


def find(connection: Connection) -> Stage | None:
    """The publication that is under way."""
    names = "token, copy, rules, fence, taken, stamp, closing"
    rows = connection.execute(f"SELECT {names} FROM synth_ops.stage").fetchall()
    return Stage(**dict(zip(names.split(", "), rows[0], strict=True))) if rows else None


def begin(connection: Connection, *, copy: str, rules: str, fence: int, taken: int, stamp: str) -> Stage:
    """Begin one; only under the publisher's lock, and where none is open."""
    stage = Stage(token=secrets.token_hex(16), copy=copy, rules=rules, fence=fence, taken=taken, stamp=stamp)
    connection.execute(
        "INSERT INTO synth_ops.stage (token, copy, rules, fence, taken, stamp, closing) "
        "VALUES (%s, %s, %s, %s, %s, %s, false)",
        (stage.token, copy, rules, fence, taken, stamp),
    )
    return stage


def close(connection: Connection, label: str) -> None:
    """End whatever is under way: its workers are refused from now on.

    Raises:
        TargetUnavailableError: One of them is loading a table at this moment.
    """
    try:
        connection.execute("DELETE FROM synth_ops.stage")
    except WAIT_AND_RETRY:
        raise TargetUnavailableError(
            f"another run is publishing to {label}: it is loading a table", "try again when it is done"
        ) from None


def complete(connection: Connection, stage: Stage) -> None:
    """Say that all tables are loaded, and that what follows is begun."""
    connection.execute("UPDATE synth_ops.stage SET closing = true WHERE token = %s", (stage.token,))


def claim(connection: Connection, token: str, table: str, label: str) -> bool:
    """Take a table for this transaction.

    Returns:
        Whether there is something to do: not, where it is loaded already.

    Raises:
        PublishRefusedError: The stage was closed.
    """
    try:
        claimed = connection.execute(
            "INSERT INTO synth_ops.staged (token, name, rows) VALUES (%s, %s, 0) ON CONFLICT DO NOTHING", (token, table)
        )
    except errors.ForeignKeyViolation:
        raise refusal(label) from None
    return claimed.rowcount == 1


def count(connection: Connection, token: str, table: str, rows: int) -> None:
    """Note how many rows a claimed table has."""
    connection.execute("UPDATE synth_ops.staged SET rows = %s WHERE token = %s AND name = %s", (rows, token, table))


def loaded(connection: Connection, token: str) -> dict[str, int]:
    """The rows of every table that is loaded."""
    found = connection.execute("SELECT name, rows FROM synth_ops.staged WHERE token = %s", (token,)).fetchall()
    return {str(name): int(rows) for name, rows in found}


def refusal(label: str) -> PublishRefusedError:
    """What a worker is told whose stage was closed."""
    return PublishRefusedError(
        f"{label}: another run has begun to publish, or the live tables were altered, since this one began",
        "publish again, if this one is to win",
    )
