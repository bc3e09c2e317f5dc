"""Which tables hold persons: one row each, with something that tells who."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from synth_ops.kinds.names import BIRTH_WORDS, PERSONAL_WORDS, head_of, names_person, words_of
from synth_ops.metadata import Kind, Metadata, Table

_TELLING = frozenset(("first_name", "last_name", "national_id"))
_HINTING = frozenset(("name", "email", "username", "password"))


def subject_tables(metadata: Metadata, decided: Mapping[str, bool]) -> frozenset[str]:
    """The tables whose rows are persons.

    A table of something that persons own or do (it refers to a table of persons) is none, unless it is called like
    persons itself: patients have doctors, and are persons all the same.

    Args:
        metadata: With the kinds decided.
        decided: What the recipe says, by table name.
    """
    own = {table.name for table in metadata.tables if decided.get(table.name, _holds_persons(table))}
    return frozenset(
        name
        for name in own
        if decided.get(name)
        or (names_person(name) and metadata.table(name).primary_key)
        or not _refers_to(metadata.table(name), own - {name})
    )


def _holds_persons(table: Table) -> bool:
    if len(table.primary_key) > 1 or any(key.columns == table.primary_key for key in table.foreign_keys):
        return False
    if names_person(table.name):
        return True
    made = {column.provider for column in table.columns if column.kind is Kind.PII}
    if made & _TELLING or any("".join(head_of(column.name)) in BIRTH_WORDS for column in table.columns):
        return True
    personal = any(PERSONAL_WORDS & set(words_of(column.name)) for column in table.columns)
    named = "name" in made or any(head_of(column.name) == ("name",) for column in table.columns)
    return (named and personal) or ("company" not in made and len(made & _HINTING) > 1)


def _refers_to(table: Table, others: Iterable[str]) -> bool:
    return any(key.parent in set(others) for key in table.foreign_keys)
