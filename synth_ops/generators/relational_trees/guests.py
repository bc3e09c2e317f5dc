"""What another model has to be, to make columns of a table whose keys, references and order are drawn here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class Guest(Protocol):
    """A model of some columns of one table."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it makes."""

    def rows(self, count: int, *, seed: int) -> pa.Table:
        """So many rows of its columns; the same ones for the same seed.

        Raises:
            SampleError: It can't make them.
        """
