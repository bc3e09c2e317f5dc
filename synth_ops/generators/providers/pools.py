"""Names, streets, cities ... of a locale: a few thousand from Faker, made once, drawn from by number."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.errors import SampleError
from synth_ops.generators.providers.arrow_text import digits, joined, where
from synth_ops.generators.providers.randomness import rows
from synth_ops.generators.providers.request import Request

_METHODS = {
    "first_name": ("first_name",),
    "last_name": ("last_name",),
    "street": ("street_name", "street_address"),
    "city": ("city",),
    "state": ("administrative_unit", "state", "region", "city"),
    "country": ("country",),
    "company": ("company",),
    "job": ("job",),
    "postcode": ("postcode",),
    "word": ("word",),
}
_DRAWS = 3_000
_FEWEST = 8
"""A pool with fewer texts that fit is of no use."""
_SEED = 20_130_101
"""Of the pools: they are the same for every run, which draws from them by its own seed."""


@lru_cache(maxsize=256)
def pool(component: str, locale: str, limit: int | None = None) -> pa.Array:
    """Different texts of one sort, none longer than `limit`.

    Raises:
        SampleError: Faker does not know the locale.
    """
    if limit is not None:
        texts = pool(component, locale)
        return texts.filter(pc.less_equal(pc.utf8_length(texts), limit))
    from faker import Faker

    try:
        faker = Faker(locale)
    except AttributeError:
        raise SampleError(f"there is no locale {locale!r}", "write one that Faker knows, such as en_US") from None
    faker.seed_instance(_SEED)
    method = next(getattr(faker, name) for name in _METHODS[component] if hasattr(faker, name))
    return pa.array(sorted({" ".join(str(method()).split()) for _ in range(_DRAWS)}))


@lru_cache(maxsize=64)
def slugs(component: str, locale: str, limit: int | None = None) -> pa.Array:
    """The same texts as `pool`, as they stand in an address: ASCII letters in lower case."""
    plain = (
        unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
        for text in _texts(component, locale, limit)
    )
    return pa.array([re.sub(r"[^a-z]", "", text.lower()) or "user" for text in plain])


def _texts(component: str, locale: str, limit: int | None) -> list[str]:
    texts: list[str] = pool(component, locale, limit).to_pylist()
    return texts


class PoolProvider:
    """Texts drawn from a pool; where they must differ, all of it in turn, then the same with a number."""

    def __init__(self, request: Request, texts: pa.Array) -> None:
        self._request = request
        self._texts = texts

    @classmethod
    def of(cls, request: Request, component: str) -> PoolProvider | None:
        """The provider, or None where hardly any text fits the column."""
        texts = pool(component, request.locale, request.limit)
        if request.unique and request.limit is not None and request.expected_rows > len(texts):
            room = request.limit - len(f" {request.expected_rows // _FEWEST}")
            texts = pool(component, request.locale, max(room, 0))
        return cls(request, texts) if len(texts) >= _FEWEST else None

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        stream, size = self._request.stream("pool"), len(self._texts)
        if not self._request.unique:
            return self._texts.take(pa.array(stream.below(start, count, size)))
        index = rows(start, count)
        chosen = self._texts.take(pa.array(stream.permuted(index % size, size)))
        turn = index // size
        return within(self._request, joined(chosen, where(turn > 0, joined(" ", digits(turn + 1)), "")))


class AddressProvider:
    """A house number and a street."""

    _HOUSES = 9_999

    def __init__(self, request: Request) -> None:
        self._request = request
        room = None if request.limit is None else max(request.limit - len(" 9999"), 0)
        self._streets = pool("street", request.locale, room)
        self._number_first = request.locale.startswith(("en", "fr"))

    @property
    def usable(self) -> bool:
        """Whether streets fit the column at all."""
        return len(self._streets) >= _FEWEST

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        stream, size = self._request.stream("pool"), len(self._streets) * self._HOUSES
        index = rows(start, count)
        place = stream.permuted(index % size, size) if self._request.unique else stream.below(start, count, size)
        house, street = digits(place % self._HOUSES + 1), self._streets.take(pa.array(place // self._HOUSES))
        text = joined(house, " ", street) if self._number_first else joined(street, " ", house)
        if not self._request.unique:
            return text
        turn = index // size
        return within(self._request, joined(text, where(turn > 0, joined(" / ", digits(turn + 1)), "")))


def within(request: Request, texts: pa.Array) -> pa.Array:
    """The texts as they are, if they fit the column.

    Raises:
        SampleError: One is too long; to cut it could make it equal to another.
    """
    if request.hard_limit is not None and (pc.max(pc.utf8_length(texts)).as_py() or 0) > request.hard_limit:
        raise request.too_few(f"of at most {request.hard_limit} characters")
    return texts
