"""A time for learning that the generators of several tables share."""

from __future__ import annotations

import time
from collections.abc import Mapping

from synth_ops.errors import FitError
from synth_ops.worker import Isolated

_DEALT = 0.85
"""What is dealt out; the rest is for those who need longer to end than they thought."""
_LEAST = 0.01
"""A share, in minutes, that is enough to begin with."""
_ALIKE = 0.1
"""The share of the time that is dealt out by heads: a tiny table, too, has to start."""


class Budget:
    """Minutes for all of them, dealt out by the cells that each learns from; what one leaves is the others'.

    Args:
        minutes: From now on.
    """

    def __init__(self, minutes: float) -> None:
        self._minutes, self._began = minutes, time.monotonic()
        self._waiting: dict[str, float] = {}

    @property
    def used_up(self) -> bool:
        """Whether no time is left."""
        return self._used() >= self._minutes

    def deal(self, cells: Mapping[str, int]) -> None:
        """Deal out what is left by now.

        Args:
            cells: Rows by columns, by table, of those that learn.
        """
        alike = _ALIKE * sum(cells.values()) / max(len(cells), 1)
        self._waiting = {table: count + alike for table, count in cells.items()}

    def within(self, guest: Isolated, table: str) -> Isolated:
        """The generator of the next table, with its share.

        Raises:
            FitError: No time is left.
        """
        used = self._used()
        if used >= self._minutes:
            raise FitError(
                f"nothing is left of {self._minutes:g} minutes for table {table!r} and those after it",
                "raise `max_minutes`, or name a generator for fewer tables",
            )
        whole = sum(self._waiting.values())
        share = (_DEALT * self._minutes - used) * self._waiting.pop(table) / whole
        return guest.within(share=max(share, _LEAST), minutes=self._minutes - used)

    def _used(self) -> float:
        return (time.monotonic() - self._began) / 60
