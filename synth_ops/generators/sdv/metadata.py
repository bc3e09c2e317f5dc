"""What SDV is told of a table: names and types alone, no values, no ranges."""

from __future__ import annotations

from typing import Any

from synth_ops.generators.sdv.columns import Seen

TABLE = "table"


def sdv_metadata(seen: Seen) -> Any:
    """SDV's metadata of what a model is to learn."""
    from sdv.metadata import Metadata

    columns = {name: {"sdtype": "categorical"} for name in seen.labels}
    columns |= {name: {"sdtype": "numerical"} for name in seen.numbers}
    return Metadata.load_from_dict({"tables": {TABLE: {"columns": columns}}})
