"""What SDV is told of tables: that there are labels, numbers and keys; no names, no values, no ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synth_ops.generators.coded_table.columns import Seen

TABLE = "table"
KEY = "key"
"""What the primary key of a table is called: the number of its row."""


def sdv_metadata(tables: Mapping[str, Seen], references: Sequence[tuple[str, str, str]] | None = None) -> Any:
    """SDV's metadata of what a model is to learn.

    Args:
        references: Child, the column there, and the parent, whose `KEY` it holds. None where tables have no such key,
            as a model of one table needs none.
    """
    from sdv.metadata import Metadata

    described: dict[str, Any] = {}
    for name, seen in tables.items():
        columns = {each: {"sdtype": "categorical"} for each in seen.labels}
        columns |= {each: {"sdtype": "numerical"} for each in seen.numbers}
        described[name] = {"columns": columns}
        if references is not None:
            columns[KEY] = {"sdtype": "id"}
            described[name]["primary_key"] = KEY
    for child, column, _ in references or ():
        described[child]["columns"][column] = {"sdtype": "id"}
    relationships = [
        {"parent_table_name": parent, "child_table_name": child, "parent_primary_key": KEY, "child_foreign_key": column}
        for child, column, parent in references or ()
    ]
    return Metadata.load_from_dict({"tables": described, "relationships": relationships})
