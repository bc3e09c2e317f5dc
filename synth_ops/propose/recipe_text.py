"""A recipe as text: what is certain, and every proposal as lines to uncomment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from synth_ops.metadata import Metadata
from synth_ops.propose.profile import Proposal

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = frozenset(["true", "false", "yes", "no", "on", "off", "y", "n", "null", "none", "nan", "inf"])


def recipe_text(source: str, target: str, proposals: Sequence[Proposal], metadata: Metadata) -> str:
    """A recipe in YAML. Without the `# ` before them, the proposals' lines are valid, too.

    Args:
        proposals: Those of one table stand together.
    """
    declared = sum(bool(table.primary_key) for table in metadata.tables)
    references = sum(len(table.foreign_keys) for table in metadata.tables)
    lines = [
        f"source: {_quoted(source)}",
        f"target: {_quoted(target)}",
        "",
        f"# {len(metadata.tables)} tables; the source declares {declared} primary keys and {references} foreign keys.",
    ]
    if proposals:
        lines += [
            "# Its data suggest these as well. Uncomment what is right (a table's line with it); delete the rest.",
            "# tables:",
            *(
                f"# {line}"
                for table, found in groupby(proposals, lambda p: p.table)
                for line in _table(table, [*found])
            ),
        ]
    return "\n".join(lines) + "\n"


def _table(name: str, proposals: Sequence[Proposal]) -> Iterator[str]:
    yield f"  {_name(name)}:"
    for proposal in proposals:
        if proposal.kind == "primary_key":
            yield f"    primary_key: {_names(proposal.columns)}  # {_comment(proposal.evidence)}"
    uniques = [proposal for proposal in proposals if proposal.kind == "unique"]
    if uniques:
        yield "    unique:"
    for proposal in uniques:
        yield f"      - {_names(proposal.columns)}  # {_comment(proposal.evidence)}"
    references = [proposal for proposal in proposals if proposal.kind == "foreign_key"]
    if references:
        yield "    foreign_keys:"
    for proposal in references:
        yield f"      - columns: {_names(proposal.columns)}  # {_comment(proposal.evidence)}"
        yield f"        references: {_name(proposal.references)}"
        yield f"        parent_columns: {_names(proposal.parent_columns)}"
        if proposal.orphans:
            yield "        orphans: repair  # or keep: as many references stay broken as in the source"


def _names(columns: Sequence[str]) -> str:
    return f"[{', '.join(map(_name, columns))}]"


def _name(text: str) -> str:
    return text if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED else _quoted(text)


def _quoted(text: str) -> str:
    import yaml

    return str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf"))).strip()


def _comment(text: str) -> str:
    """The text on one line: names may hold line breaks."""
    return " ".join(text.split())
