"""What is asked of a provider: for which column, how long its texts may be, whether they must differ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from synth_ops.errors import SampleError
from synth_ops.generators.providers.randomness import Stream
from synth_ops.generators.providers.shape import TextShape
from synth_ops.metadata import Column

_UNKNOWN_ROWS = 100_000
_BITS: Mapping[str, int] = {
    "TINYINT": 7,
    "UTINYINT": 8,
    "SMALLINT": 15,
    "USMALLINT": 16,
    "INTEGER": 31,
    "UINTEGER": 32,
    "FLOAT": 24,
    "REAL": 24,
    "DOUBLE": 53,
}


class Provider(Protocol):
    """Makes one column."""

    def values(self, start: int, count: int) -> pa.Array:
        """The values of rows `start` to `start + count - 1`, castable to the column's type, none of them NULL.

        Raises:
            SampleError: There are not as many different values of the wanted form.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to make.

    Attributes:
        shape: What was learned of the column's form; None when nothing was.
        unique: Whether all values must differ.
        locale: Of names and places, as Faker calls it.
        rows: How many rows will be asked for, where that is known; 0 where not.
    """

    column: Column
    shape: TextShape | None
    seed: int
    table: str
    unique: bool
    locale: str = "en_US"
    rows: int = 0

    def stream(self, purpose: str) -> Stream:
        """The column's own random numbers for one purpose."""
        return Stream.named(self.seed, self.table, self.column.name, purpose)

    @property
    def hard_limit(self) -> int | None:
        """How many characters the column's declared type takes: None for any number."""
        for declared in (self.column.native_type, self.column.type):
            found = re.search(r"char[^()]*\(\s*(\d+)\s*\)", declared, re.IGNORECASE)
            if found:
                return int(found[1])
        return None

    @property
    def limit(self) -> int | None:
        """How many characters a value should have at most: as the source's values, inside the declared limit."""
        limits = [limit for limit in (self.hard_limit, self.shape.max_length if self.shape else None) if limit]
        return min(limits) if limits else None

    @property
    def expected_rows(self) -> int:
        """How many rows to keep room for: the same number for every shard."""
        return self.rows or _UNKNOWN_ROWS

    @property
    def largest(self) -> int:
        """The largest whole number that the column's type holds."""
        type_name = self.column.type.upper()
        decimal = re.match(r"DECIMAL\((\d+)\s*,\s*(\d+)\)", type_name)
        if decimal:
            return int(min(10 ** (int(decimal[1]) - int(decimal[2])) - 1, 2**63 - 1))
        return (1 << _BITS.get(type_name, 63)) - 1

    def too_few(self, form: str) -> SampleError:
        """The error when a column needs more different values than its form allows."""
        return SampleError(
            f"{self.table}.{self.column.name}: there are not enough different values of the form {form}",
            "lower `scale`, widen the column, or set another `provider` for it in the recipe",
        )
