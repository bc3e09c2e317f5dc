"""What another model has to be, to make columns of a table whose keys, references and order are drawn here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class Guest(Protocol):
    """A model of some columns of one table."""

    @property
    def in_sequence(self) -> bool:
        """Whether its rows are those of sequences, all of the same length, one after the other."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it makes."""

    def rows(self, count: int, *, seed: int) -> pa.Table:
        """So many rows of its columns, or the rows of so many sequences; the same ones for the same seed.

        Raises:
            SampleError: It can't make them.
        """
