"""Connections that see what a session sees: each of them imports its snapshot."""

from __future__ import annotations

import contextlib
import time

import adbc_driver_postgresql.dbapi as adbc

from synth_ops.location import Location
from synth_ops.postgresql_server import FULL, conninfo, trouble

BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SETTINGS = {
    "search_path": "",  # every name is qualified, and nobody's function stands in for the system's
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "synchronize_seqscans": "off",  # rows come in the order in which they are stored
    "max_parallel_workers_per_gather": "0",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "60s",
}
SET = f"SELECT {', '.join(f'pg_catalog.set_config({name!r}, {value!r}, true)' for name, value in _SETTINGS.items())}"
_PATIENCE_S = 2.0


class Readers:
    """Connections to lend, each to one thread at a time; those that came back are lent again.

    Args:
        snapshot: What the session has exported.
    """

    def __init__(self, location: Location, snapshot: str) -> None:
        self._location = location
        self._snapshot = snapshot
        self._idle: list[adbc.Connection] = []
        self._all: list[adbc.Connection] = []

    def lend(self) -> adbc.Connection:
        """A connection, for which one that has just been closed may have to make room first.

        The driver connects twice, one after the other, and for a moment the server counts those that are gone.

        Raises:
            adbc.Error: The server gives none; its text must not be shown.
        """
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self._idle.pop() if self._idle else self._open()
            except adbc.Error as error:
                if trouble(error) is not FULL or time.monotonic() > until:
                    raise
            time.sleep(_PATIENCE_S / 100)

    def lend_another(self) -> adbc.Connection | None:
        """One more, where the server gives one at once: whoever has a connection can do without."""
        with contextlib.suppress(adbc.Error):
            return self._idle.pop() if self._idle else self._open()
        return None

    def take_back(self, readers: list[adbc.Connection]) -> None:
        """Those that have read all that they were to read."""
        self._idle += readers

    def close(self) -> None:
        """Close all, also those that are lent."""
        for reader in self._all:
            with contextlib.suppress(adbc.Error):
                reader.close()

    def _open(self) -> adbc.Connection:
        connection = adbc.connect(conninfo(self._location), autocommit=True)
        self._all.append(connection)
        with connection.cursor() as cursor:
            cursor.execute(BEGIN)
            cursor.execute(f"SET TRANSACTION SNAPSHOT '{self._snapshot}'")
            cursor.execute(SET)
        return connection
