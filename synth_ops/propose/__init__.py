"""Keys and references that a source does not declare, guessed from names and values, with the evidence.

Names propose and values decide: a key is unique and never NULL in the whole snapshot; nearly all values of a
reference are found in a key. Whole numbers are found in every table's ids, so for them a name must speak as well.
"""

from __future__ import annotations

from collections.abc import Mapping

from synth_ops.artifacts import TableData
from synth_ops.metadata import Metadata
from synth_ops.propose.composite import propose_composite_keys, propose_composite_references
from synth_ops.propose.keys import propose_single_keys
from synth_ops.propose.profile import Proposal, profile
from synth_ops.propose.recipe_text import recipe_text
from synth_ops.propose.references import propose_single_references
from synth_ops.sql import connect, register

__all__ = ["Proposal", "propose", "recipe_text"]

_SCHEMA = "snapshot"


def propose(metadata: Metadata, tables: Mapping[str, TableData]) -> list[Proposal]:
    """What the recipe might declare beside what the source declares, by table in the metadata's order.

    Args:
        metadata: What the source declares; nothing is proposed twice.
        tables: The snapshot's data, by table name.
    """
    with connect() as connection:
        register(connection, tables, _SCHEMA)
        profiles = profile(connection, metadata, _SCHEMA)
        found = propose_single_keys(connection, profiles)
        found += propose_single_references(connection, profiles, found)
        found += propose_composite_keys(connection, profiles, found)
        found += propose_composite_references(connection, profiles, found)
    place = {name: position for position, name in enumerate(metadata.table_names)}
    order = {"primary_key": 0, "unique": 1, "foreign_key": 2}
    return sorted(found, key=lambda proposal: (place[proposal.table], order[proposal.kind]))
