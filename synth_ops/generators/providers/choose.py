"""From a column's kind and provider to what makes its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from synth_ops.errors import SampleError
from synth_ops.generators.providers.contact import AddressOnNetProvider, UrlProvider, phone_provider
from synth_ops.generators.providers.identifiers import (
    CardProvider,
    IbanProvider,
    UuidProvider,
    national_id_provider,
    secret_provider,
)
from synth_ops.generators.providers.native import native_provider
from synth_ops.generators.providers.nested import BlobProvider, NestedProvider
from synth_ops.generators.providers.pattern import DenseIntegers, DigitsProvider, PatternProvider
from synth_ops.generators.providers.people import AccountProvider, name_provider
from synth_ops.generators.providers.pools import AddressProvider, PoolProvider
from synth_ops.generators.providers.prose import DateTextProvider, TextProvider, words_provider
from synth_ops.generators.providers.request import Provider, Request
from synth_ops.generators.providers.shape import TextShape
from synth_ops.metadata import Column, Kind
from synth_ops.sql import is_number, is_text

_SHORTEST = {"email": 13, "iban": 22, "card": 16, "url": 12, "ip": 15, "uuid": 32, "username": 8, "name": 6, "date": 10}
"""A column that takes fewer characters gets codes instead."""
_DEFAULTS = {Kind.ID: "pattern", Kind.PII: "pattern", Kind.TEXT: "text", Kind.MEDIA: "blob"}


def provider_for(
    column: Column,
    shape: TextShape | None,
    *,
    seed: int,
    table: str,
    unique: bool,
    locale: str = "en_US",
    rows: int = 0,
) -> Provider:
    """The provider of a column of kind id, pii, text or media.

    Args:
        shape: What `learn_shapes` learned of the column; None when nothing was.
        unique: Whether all values must differ, for any number of rows.
        locale: Of names and places, as Faker calls it.
        rows: How many rows will be asked for, where that is known: narrow formats are then used better.

    Raises:
        SampleError: The kind is one that is learned, or the provider can't make values of the column's type.
    """
    request = Request(column=column, shape=shape, seed=seed, table=table, unique=unique, locale=locale, rows=rows)
    if column.kind not in _DEFAULTS:
        raise SampleError(f"{table}.{column.name}: columns of kind {column.kind.value} are learned, not provided")
    return _by_type(request) or native_provider(request) or _by_name(request)


def _by_type(request: Request) -> Provider | None:
    """Where a column's type leaves no choice, or nearly none."""
    column = request.column
    type_name = column.type.upper()
    if type_name == "UUID":
        return UuidProvider(request)
    if is_number(type_name):
        dense = column.provider == "integer" or (column.kind is Kind.ID and column.provider != "digits")
        return DenseIntegers(request) if dense else DigitsProvider(request)
    if type_name == "BLOB":
        return BlobProvider(request)
    if is_text(type_name):
        return None
    if type_name.endswith("]") or type_name.startswith(("STRUCT", "MAP", "JSON")):
        return NestedProvider(request)
    raise SampleError(
        f"{request.table}.{column.name}: no provider makes values of type {column.type}",
        "set a kind that is learned (categorical, numerical, datetime) for it in the recipe",
    )


def _by_name(request: Request) -> Provider:
    name = request.column.provider or _DEFAULTS[request.column.kind]
    if name not in _MAKERS:
        raise SampleError(
            f"{request.table}.{request.column.name}: there is no provider {name!r}",
            f"providers: {', '.join(sorted(_MAKERS))}",
        )
    # an address of the net has one form, however short the source's are
    limit = request.hard_limit if name == "ip" else request.limit
    if limit is not None and limit < _SHORTEST.get(name, 1):
        return PatternProvider(request)
    return _MAKERS[name](request)


def _pool(component: str) -> Callable[[Request], Provider]:
    def make(request: Request) -> Provider:
        return PoolProvider.of(request, component) or PatternProvider(request)

    return make


def _address(request: Request) -> Provider:
    addresses = AddressProvider(request)
    return addresses if addresses.usable else PatternProvider(request)


def _postcode(request: Request) -> Provider:
    return PatternProvider(request) if request.shape and request.shape.masks else _pool("postcode")(request)


_MAKERS: Mapping[str, Callable[[Request], Provider]] = {
    "name": lambda request: name_provider(request, "name"),
    "first_name": lambda request: name_provider(request, "first_name"),
    "last_name": lambda request: name_provider(request, "last_name"),
    "email": lambda request: AccountProvider(request, mail=True),
    "username": lambda request: AccountProvider(request, mail=False),
    "phone": phone_provider,
    "address": _address,
    "city": _pool("city"),
    "state": _pool("state"),
    "country": _pool("country"),
    "postcode": _postcode,
    "company": _pool("company"),
    "job": _pool("job"),
    "url": UrlProvider,
    "ip": AddressOnNetProvider,
    "uuid": UuidProvider,
    "iban": IbanProvider,
    "card": CardProvider,
    "national_id": national_id_provider,
    "password": secret_provider,
    "text": TextProvider,
    "words": words_provider,
    "date": DateTextProvider,
    "pattern": PatternProvider,
    "digits": PatternProvider,
    "integer": PatternProvider,
    "json": NestedProvider,
    "blob": BlobProvider,
}
