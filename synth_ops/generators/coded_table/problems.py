"""What models from elsewhere can't do, known before they learn: a clear refusal is better than a wrong copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synth_ops.errors import FitError
from synth_ops.metadata import Kind, Metadata, Table, generation_order

INSTEAD = "use `generator: relational_trees`, or `sdv.gaussian_copula`, which take any number of categories and rows"
_DIMENSIONS_OF_A_NUMBER = 11
_BYTES_OF_A_CELL = 8 + 4 + 4
"""The one-hot table in double and single precision, and its batches on the way."""
_GIB = 2**30
_MOST_TABLES, _LONGEST_CHAIN = 5, 2
_PROVIDED = (Kind.ID, Kind.PII)


def refuse(problems: Sequence[str]) -> None:
    """Stop here, if there is a problem.

    Raises:
        FitError: With all of them.
    """
    if problems:
        raise FitError("; ".join(problems), INSTEAD)


def single_problems(metadata: Metadata) -> list[str]:
    """Why a model of one table can't learn what is given; nothing where it can."""
    if len(metadata.tables) != 1:
        return [f"a model of one table learns one table, and there are {len(metadata.tables)}"]
    table = metadata.tables[0]
    found = [f"table {table.name!r} refers to {key.parent!r}" for key in table.foreign_keys]
    return [*found, *_keys_that_repeat(table)]


def sequence_problems(metadata: Metadata) -> list[str]:
    """Why a model of sequences can't learn what is given; nothing where it can."""
    if len(metadata.tables) != 1:
        return [f"a model of sequences learns one table, and there are {len(metadata.tables)}"]
    table = metadata.tables[0]
    if sum(column.kind is Kind.ID for column in table.columns) == 1 and not table.keys and not table.foreign_keys:
        return []
    told = f"table {table.name!r} has no sequences, which are the rows of one parent: it refers to none by several rows"
    return [told]


def width_problems(
    table: str, rows: int, categories: Mapping[str, int], numbers: int, *, allowed_gb: float
) -> list[str]:
    """Why a network can't hold a table: it sees a column of its own for every category, and eleven for a number.

    Args:
        categories: How many there are, by column.
        numbers: How many columns are numbers.
    """
    width = sum(categories.values()) + _DIMENSIONS_OF_A_NUMBER * numbers
    wanted = rows * width * _BYTES_OF_A_CELL / _GIB
    if wanted <= allowed_gb:
        return []
    widest = max(categories, key=lambda name: categories[name], default="")
    most = f", {categories[widest]} of them for {widest!r}" if widest else ""
    seen = f"{rows} rows by {width} columns{most} (raise `max_memory_gb`, or read fewer rows)"
    told = (
        f"table {table!r} would take about {wanted:.1f} GiB as a network sees it, and may take {allowed_gb:g}: {seen}"
    )
    return [told]


def hma_problems(metadata: Metadata) -> list[str]:
    """Why HMA can't learn a schema; nothing where it can."""
    found = []
    if len(metadata.tables) > _MOST_TABLES:
        found.append(f"sdv.hma takes at most {_MOST_TABLES} tables, and there are {len(metadata.tables)}")
    if generation_order(metadata)[1] or any(
        key.parent == table.name for table in metadata.tables for key in table.foreign_keys
    ):
        found.append("sdv.hma takes no references that lead in a circle")
    elif (longest := max(_chain(metadata, table.name) for table in metadata.tables)) > _LONGEST_CHAIN:
        found.append(f"sdv.hma takes chains of at most {_LONGEST_CHAIN} tables, and one has {longest}")
    for table in metadata.tables:
        found += _keys_that_repeat(table)
        found += [f"table {table.name!r} has checks, which sdv.hma would break"] if table.checks else []
        for key in table.foreign_keys:
            if len(key.columns) > 1:
                found.append(f"table {table.name!r} refers to {key.parent!r} by several columns")
            elif any(key.columns[0] in unique for unique in table.keys):
                found.append(f"table {table.name!r} has a key with a reference in it, {key.columns[0]!r}")
    return found


def _keys_that_repeat(table: Table) -> list[str]:
    return [
        f"table {table.name!r} has the key ({', '.join(key)}), whose columns are learned and would repeat"
        for key in table.keys
        if not any(table.column(name).kind in _PROVIDED for name in key)
    ]


def _chain(metadata: Metadata, table: str) -> int:
    """How many tables the longest way up has, this one included."""
    return 1 + max((_chain(metadata, key.parent) for key in metadata.table(table).foreign_keys), default=0)
