"""One column's kind: keys first, then types, names, patterns and shapes, in this order."""

from __future__ import annotations

from dataclasses import dataclass

from synth_ops.kinds.names import (
    AMBIGUOUS_WORDS,
    BIRTH_WORDS,
    CATEGORY_WORDS,
    ID_WORDS,
    LATITUDE_WORDS,
    LONGITUDE_WORDS,
    NAME_WORDS,
    TEXT_WORDS,
    TITLE_WORDS,
    head_of,
    names_person,
    numbers_persons,
    provider_named,
    words_of,
)
from synth_ops.kinds.profile import Profile
from synth_ops.metadata import Column, Kind, Table
from synth_ops.sql import is_integer, is_number, is_text

REPEATED = 0.2
"""At most this many distinct values a value: each comes about five times, so most can be kept."""
OFTEN_REPEATED = 0.02
"""The same for columns that point to a person where they don't repeat very much: postcodes, employers."""
_HARDLY_REPEATED = 0.5
MOSTLY = 0.8
"""The share of values that must look like a pattern to be taken for it."""
_REPEATABLE = {
    "city": REPEATED,
    "state": REPEATED,
    "country": REPEATED,
    "job": REPEATED,
    "postcode": OFTEN_REPEATED,
    "company": OFTEN_REPEATED,
}
"""Providers that only make values where a column does not repeat its own: places tell little when shared."""
_LOOK = {"phone": "dialled", "email": "email", "url": "url", "ip": "ip", "iban": "iban", "card": "card"}
_LOOKS_LIKE = {
    "email": "e-mail addresses",
    "url": "URLs",
    "uuid": "UUIDs",
    "ip": "IP addresses",
    "phone": "phone numbers",
    "iban": "IBANs with right check digits",
    "card": "card numbers with right check digits",
    "date": "dates",
    "nested": "JSON",
}
_NUMBER_PROVIDERS = {"phone": 1e5, "national_id": 1e4, "card": 1e11, "pattern": 1e4, "postcode": 1e3}
"""Providers that numbers may stand for, with what the largest must reach."""
_FEW, _SEVERAL = 12, 60
_YEARS = (1500, 2200)
_SENTENCE_WORDS, _SENTENCE_LENGTH = 6, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a column is, and why.

    Attributes:
        evidence: In words and counts, without values.
    """

    kind: Kind
    provider: str = ""
    evidence: str


def decide(table: Table, column: Column, profile: Profile) -> Decision:
    """Choose a column's kind and provider."""
    return _by_key(table, column, profile) or _by_meaning(table, column, profile)


def _by_key(table: Table, column: Column, profile: Profile) -> Decision | None:
    """Ids: references, and keys but for those parts of composite ones that carry a meaning of their own."""
    name = column.name
    reference = next((key for key in table.foreign_keys if name in key.columns), None)
    if reference:
        return Decision(kind=Kind.ID, evidence=f"foreign key to {reference.parent!r}")
    key = next((key for key in sorted(table.keys, key=len) if name in key), None)
    if key is None:
        return None
    primary = "primary key" if name in table.primary_key else "unique"
    if key == table.primary_key and len(key) == 1:
        return Decision(kind=Kind.ID, provider=_id_provider(column), evidence=primary)
    if len(key) == 1:
        return _by_unique_key(table, column, profile)
    if profile.variety > _HARDLY_REPEATED and not _is_time(column.type):
        meant = _by_meaning(table, column, profile)
        if meant.kind in (Kind.CATEGORICAL, Kind.NUMERICAL, Kind.ID):
            return Decision(
                kind=Kind.ID, provider=_id_provider(column), evidence=f"part of a {primary}; hardly repeats"
            )
    return None


def _by_unique_key(table: Table, column: Column, profile: Profile) -> Decision | None:
    if not is_text(column.type):
        return Decision(kind=Kind.ID, provider=_id_provider(column), evidence="unique")
    meant = _by_meaning(table, column, profile)
    if meant.kind is Kind.CATEGORICAL:
        code_like = profile.shares.get("code", 0.0) >= MOSTLY
        kind, provider = (Kind.ID, "pattern") if code_like else (Kind.TEXT, "words")
        return Decision(kind=kind, provider=provider, evidence="unique")
    return Decision(kind=meant.kind, provider=meant.provider, evidence=f"unique; {meant.evidence}")


def _by_meaning(table: Table, column: Column, profile: Profile) -> Decision:
    if is_text(column.type):
        return _text(table, column, profile)
    if is_number(column.type):
        return _telling_number(column, profile) or _plain_number(column, profile)
    return _by_type(column, profile)


def _by_type(column: Column, profile: Profile) -> Decision:
    type_name = column.type.upper()
    evidence = f"declared {column.type}"
    if type_name == "BOOLEAN":
        return Decision(kind=Kind.CATEGORICAL, evidence=evidence)
    if _is_time(type_name):
        birth = "; a birth date by its name" if "".join(head_of(column.name)) in BIRTH_WORDS else ""
        return Decision(kind=Kind.DATETIME, evidence=evidence + birth)
    if type_name == "UUID":
        return Decision(kind=Kind.ID, provider="uuid", evidence=evidence)
    if type_name in ("BLOB", "BIT", "BYTEA", "BINARY", "VARBINARY"):
        return Decision(kind=Kind.MEDIA, provider="blob", evidence=evidence)
    if profile.values and profile.variety <= REPEATED:
        return Decision(kind=Kind.CATEGORICAL, evidence=f"{evidence}; {_repeats(profile)}")
    return Decision(kind=Kind.TEXT, provider="json", evidence=evidence)


def _telling_number(column: Column, profile: Profile) -> Decision | None:
    """Telephone numbers, postcodes and the like, and coordinates."""
    provider, words = provider_named(column.name), words_of(column.name)
    if provider in _NUMBER_PROVIDERS and (profile.high or 0) >= _NUMBER_PROVIDERS[provider]:
        evidence = f"its name says {provider}; {_repeats(profile)}"
        if profile.variety <= _REPEATABLE.get(provider, 0.0):
            return Decision(kind=Kind.CATEGORICAL, evidence=evidence)
        return Decision(kind=Kind.PII, provider="digits", evidence=evidence)
    for what, spellings, limit in (("latitude", LATITUDE_WORDS, 90), ("longitude", LONGITUDE_WORDS, 180)):
        known = profile.low is not None and profile.high is not None
        if words and words[-1] in spellings and known and max(-(profile.low or 0), profile.high or 0) <= limit:
            return Decision(kind=Kind.GEO, evidence=f"name and range of a {what}")
    return None


def _plain_number(column: Column, profile: Profile) -> Decision:
    words, declared = words_of(column.name), f"declared {column.type.upper()}"
    if not is_integer(column.type):
        return Decision(kind=Kind.NUMERICAL, evidence=declared)
    repeated = bool(profile.values) and profile.variety <= REPEATED
    several = repeated and profile.distinct <= _SEVERAL
    if repeated and (profile.distinct <= _FEW or (several and _is_category(words))):
        return Decision(kind=Kind.CATEGORICAL, evidence=f"whole numbers; {_repeats(profile)}")
    year = profile.variety <= _HARDLY_REPEATED and _YEARS[0] <= (profile.low or 0) and (profile.high or 0) <= _YEARS[1]
    if words and not (year or several) and (words[-1] in ID_WORDS or words[-1].endswith("id")):
        return Decision(
            kind=Kind.ID, provider="integer", evidence=f"name of a number that identifies; {_repeats(profile)}"
        )
    return Decision(kind=Kind.NUMERICAL, evidence=declared)


def _text(table: Table, column: Column, profile: Profile) -> Decision:
    return (
        _text_by_name(column, profile)
        or _text_by_pattern(profile)
        or _text_by_table(table, column, profile)
        or _text_by_shape(column, profile)
    )


def _text_by_name(column: Column, profile: Profile) -> Decision | None:
    provider = provider_named(column.name)
    if not provider:
        return None
    look = _LOOK.get(provider, "")
    evidence = f"its name says {provider}"
    if look in _LOOKS_LIKE and profile.sampled:
        evidence += f"; {profile.shares[look]:.0%} of {profile.sampled} values look like {_LOOKS_LIKE[look]}"
    doubtful = "".join(head_of(column.name)) in AMBIGUOUS_WORDS or (look and profile.shares.get(look, 0.0) == 0)
    few_others = bool(doubtful) and profile.distinct <= _FEW and profile.length > 0
    if profile.values and profile.variety <= (OFTEN_REPEATED if few_others else _REPEATABLE.get(provider, -1.0)):
        return Decision(kind=Kind.CATEGORICAL, evidence=f"{evidence}, but {_repeats(profile)}")
    return Decision(kind=Kind.PII, provider=provider, evidence=evidence)


def _text_by_pattern(profile: Profile) -> Decision | None:
    best = max(_LOOKS_LIKE, key=lambda pattern: profile.shares.get(pattern, 0.0))
    share = profile.shares.get(best, 0.0)
    if share < MOSTLY:
        return None
    evidence = f"{share:.0%} of {profile.sampled} values look like {_LOOKS_LIKE[best]}"
    if best in ("date", "nested") and profile.variety <= REPEATED:
        return Decision(kind=Kind.CATEGORICAL, evidence=f"{evidence}, but {_repeats(profile)}")
    kinds = {"uuid": (Kind.ID, "uuid"), "date": (Kind.TEXT, "date"), "nested": (Kind.TEXT, "json")}
    kind, provider = kinds.get(best, (Kind.PII, best))
    return Decision(kind=kind, provider=provider, evidence=evidence)


def _text_by_table(table: Table, column: Column, profile: Profile) -> Decision | None:
    """Names and titles mean something else in a table of persons."""
    head = head_of(column.name)
    if not (head and names_person(table.name)):
        return None
    if head[-1] in NAME_WORDS and len(head) == 1:
        return Decision(kind=Kind.PII, provider="name", evidence=f"a name in a table of persons, {table.name!r}")
    if head[-1] in TITLE_WORDS and profile.variety > REPEATED:
        return Decision(kind=Kind.TEXT, provider="job", evidence=f"a title in a table of persons, {table.name!r}")
    return None


def _text_by_shape(column: Column, profile: Profile) -> Decision:
    if not profile.values:
        return Decision(kind=Kind.TEXT, provider="text", evidence="no values to judge by")
    if numbers_persons(column.name) and profile.shares.get("code", 0.0) >= MOSTLY:
        return Decision(
            kind=Kind.ID, provider="pattern", evidence=f"name of a code that stands for a person; {_repeats(profile)}"
        )
    words = words_of(column.name)
    sentences = profile.words > _SENTENCE_WORDS or profile.length > _SENTENCE_LENGTH
    free = sentences or (bool(words) and words[-1] in TEXT_WORDS)
    repeats = _repeats(profile)
    if profile.variety <= (REPEATED / 2 if free else _HARDLY_REPEATED if _is_category(words) else REPEATED):
        return Decision(kind=Kind.CATEGORICAL, evidence=repeats)
    if free:
        return Decision(
            kind=Kind.TEXT, provider="text", evidence=f"{profile.words:.0f} words a value on average; {repeats}"
        )
    if profile.shares.get("code", 0.0) >= MOSTLY:
        return Decision(kind=Kind.ID, provider="pattern", evidence=f"values look like codes; {repeats}")
    return Decision(kind=Kind.TEXT, provider="words", evidence=f"short texts; {repeats}")


def _id_provider(column: Column) -> str:
    type_name = column.type.upper()
    if type_name == "UUID":
        return "uuid"
    return "pattern" if is_text(column.type) else "integer" if is_number(type_name) else ""


def _is_category(words: tuple[str, ...]) -> bool:
    return bool(words) and (words[-1] in CATEGORY_WORDS or words[0] in ("is", "has"))


def _is_time(type_name: str) -> bool:
    return type_name.upper().startswith(("DATE", "TIME", "INTERVAL"))


def _repeats(profile: Profile) -> str:
    return f"about {profile.distinct} distinct of {profile.values} values"
