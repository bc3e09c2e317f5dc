"""Times that are counted from others: an end from its start, a payment from its rental, so that none comes before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a time is counted from.

    Attributes:
        column: A column of the same row, or of the parent's.
        through: The columns of the foreign key to that parent.
    """

    column: str
    through: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Names."""
        return {"column": self.column, "through": list(self.through)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Base:
        """Read what `to_json` wrote."""
        return cls(column=document["column"], through=tuple(document["through"]))


def since(values: pa.ChunkedArray, base: pa.ChunkedArray) -> pa.ChunkedArray:
    """How far values are from their base, as whole numbers of the type's own unit; NULL where either is."""
    return pc.subtract(_as_integers(values), _as_integers(base))


def after(distances: pa.Array, base: pa.Array) -> pa.Array:
    """The inverse of `since`: values of the base's type."""
    moved = pc.add(distances.cast(pa.int64()), _as_integers(base))
    return moved.cast(pa.int32()).cast(base.type) if pa.types.is_date32(base.type) else moved.cast(base.type)


def _as_integers(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return (values.cast(pa.int32()) if pa.types.is_date32(values.type) else values).cast(pa.int64())
