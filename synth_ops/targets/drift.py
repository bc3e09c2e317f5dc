"""The columns of live tables, which the target's own migrations may have altered, against those of a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from synth_ops.errors import PublishRefusedError
from synth_ops.metadata import Column, Table
from synth_ops.recipe import Mismatch


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveColumn:
    """One column of a live table.

    Attributes:
        type: The server's name of its type.
        family: What its values are, roughly; empty where they are read from text.
        generated: Whether the server computes it.
        needed: Whether a row can't do without a value for it.
    """

    name: str
    type: str
    family: str
    generated: bool
    needed: bool


def mismatches(table: Table, live: Sequence[LiveColumn], family: Callable[[Column], str]) -> Iterator[str]:
    """How a live table differs from the copy's, in names and types.

    Args:
        family: That of a column of the copy.
    """
    there = {column.name: column for column in live}
    for column in table.columns:
        if column.name not in there:
            yield f"the target lacks column {column.name!r}"
            continue
        wanted, found = family(column), there[column.name].family
        if wanted != found and wanted and found:
            yield f"column {column.name!r} is {there[column.name].type} in the target, {column.type} in the copy"
    for name in _unfillable(table, live):
        yield f"the target's column {name!r}, which needs a value, is not in the copy"


def refuse(
    found: Mapping[str, Sequence[str]],
    tables: Iterable[Table],
    live: Mapping[str, Sequence[LiveColumn]],
    on_mismatch: Mismatch,
    label: str,
) -> None:
    """Refuse live tables that differ, unless the recipe says whose columns win, and they can.

    Args:
        found: How live tables differ, by name.
        live: Their columns.

    Raises:
        PublishRefusedError: With every difference.
    """
    problems = [
        f"table {table.name!r}: {difference}"
        for table in tables
        for difference in found.get(table.name, ())
        if on_mismatch is Mismatch.FAIL
        or (on_mismatch is Mismatch.TARGET and _unfillable(table, live.get(table.name, ())))
    ]
    if problems:
        raise PublishRefusedError(
            f"{label}: live tables differ from the copy's: {'; '.join(problems)}",
            "migrate the target, or set `publish: on_mismatch:` to source or target",
        )


def _unfillable(table: Table, live: Sequence[LiveColumn]) -> list[str]:
    return [each.name for each in live if each.needed and not each.generated and each.name not in table.column_names]
