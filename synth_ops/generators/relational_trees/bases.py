"""Times that are counted from others: an end from its start, a payment from its rental, so that none comes before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a time is counted from.

    Attributes:
        column: A column of the same row, or of the parent's.
        through: The columns of the foreign key to that parent.
        lowest, highest: What the time itself may be, in the type's own unit: what k subjects share at either end.
        ends: Whether some rows have no such time (yet).
    """

    column: str
    through: tuple[str, ...] = ()
    lowest: int
    highest: int
    ends: bool

    def to_json(self) -> dict[str, Any]:
        """Names, and ends that k subjects share."""
        return {
            "column": self.column,
            "through": list(self.through),
            "lowest": self.lowest,
            "highest": self.highest,
            "ends": self.ends,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Base:
        """Read what `to_json` wrote."""
        return cls(**{**document, "through": tuple(document["through"])})


def since(values: pa.ChunkedArray, base: pa.ChunkedArray) -> pa.ChunkedArray:
    """How far values are from their base, as whole numbers of the type's own unit; NULL where either is."""
    return pc.subtract(as_integers(values), as_integers(base))


def after(distances: pa.Array, start: pa.Array, base: Base, step: int, generator: np.random.Generator) -> pa.Array:
    """The inverse of `since`: values of the start's type.

    What would leave the range of the time itself lies anywhere between the start and the end of that range; where it
    would start after that, there is no such time yet, or else it is the start, which tells nothing of the time itself.

    Args:
        step: What all distances are multiples of.
    """
    known = pc.and_(distances.is_valid(), start.is_valid()).to_numpy(zero_copy_only=False)
    begun = pc.fill_null(as_integers(start), 0).to_numpy(zero_copy_only=False)
    moved = begun + pc.fill_null(distances.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    room = np.maximum(base.highest - begun, 0)
    steps = room // step
    inside = begun + np.minimum((generator.random(len(moved)) * (steps + 1.0)).astype(np.int64), steps) * step
    moved = np.maximum(np.where(moved > base.highest, inside, moved), base.lowest)
    late = begun > base.highest
    values = pa.array(np.minimum(moved, np.maximum(base.highest, begun)), mask=~known | (late & base.ends))
    return values.cast(pa.int32()).cast(start.type) if pa.types.is_date32(start.type) else values.cast(start.type)


def as_integers(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Times in the type's own unit."""
    return (values.cast(pa.int32()) if pa.types.is_date32(values.type) else values).cast(pa.int64())
