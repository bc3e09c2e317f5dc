"""Identifiers of a standard form: UUIDs, accounts, cards, numbers of persons, secrets."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from synth_ops.generators.providers.arrow_text import digits, fixed_width, joined
from synth_ops.generators.providers.pattern import PatternProvider
from synth_ops.generators.providers.randomness import Integers, rows
from synth_ops.generators.providers.request import Provider, Request

_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_DASHES = (8, 13, 18, 23)
_UUID_HEX, _UUID_LENGTH, _WORD_HEX = 32, 36, 16
_CARD_PREFIX = "400000"
"""A range that payment gateways keep for tests."""
_CARD_NUMBERS, _ACCOUNTS = 10**9, 10**10
_BANK = "DE{}00000000"
"""There is no German bank with the number 00000000."""
_DIGITS_OF_DE00 = 131_400
_SSN_MASKS = frozenset(("999-99-9999", "999999999"))
_LONGEST_SECRET = 64


class UuidProvider:
    """Random UUIDs (version 4)."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        letters = _hex_letters(self._request, start, count, _UUID_HEX)
        letters[:, 12] = ord("4")
        letters[:, 16] = _HEX[8 + (letters[:, 16] & 3)]
        limit = self._request.limit
        if limit is not None and limit < _UUID_LENGTH:
            return fixed_width(letters[:, :limit])
        characters = np.full((count, _UUID_LENGTH), ord("-"), np.uint8)
        characters[:, [place for place in range(_UUID_LENGTH) if place not in _DASHES]] = letters
        return fixed_width(characters)


class SecretProvider:
    """Hex digits, as hashes and tokens have them, as many as most of the source's have."""

    def __init__(self, request: Request) -> None:
        self._request = request
        lengths = request.shape.lengths if request.shape else ()
        common = max(lengths, key=lambda pair: pair[1])[0] if lengths else _UUID_HEX
        self.length = min(common, _LONGEST_SECRET, request.hard_limit or common)

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        return fixed_width(_hex_letters(self._request, start, count, self.length))


def secret_provider(request: Request) -> Provider:
    """Secrets; codes that surely differ where secrets are too short to."""
    secrets = SecretProvider(request)
    return PatternProvider(request) if request.unique and secrets.length < _WORD_HEX else secrets


class CardProvider:
    """Card numbers of a test range, with the right check digit."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        number = _numbers(self._request, start, count, _CARD_NUMBERS) + int(_CARD_PREFIX) * _CARD_NUMBERS
        total = np.zeros(count, np.int64)
        rest = number
        for place in range(len(str(_CARD_NUMBERS)) - 1 + len(_CARD_PREFIX)):
            digit = rest % 10 * (2 if place % 2 == 0 else 1)
            total += digit // 10 + digit % 10
            rest = rest // 10
        return digits(number * 10 + (10 - total % 10) % 10)


class IbanProvider:
    """German account numbers at a bank that does not exist, with the right check digits."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        account = _numbers(self._request, start, count, _ACCOUNTS)
        check = 98 - (account % 97 * 10**6 + _DIGITS_OF_DE00) % 97
        before, after = _BANK.split("{}")
        return joined(before, _padded(check, 2), after, _padded(account, 10))


def national_id_provider(request: Request) -> Provider:
    """Numbers in the source's format; those of the USA begin with 9, which none of a person does."""
    learned = request.shape.masks if request.shape else (("999-99-9999", 1.0),)
    safe = tuple((rf"\9{mask[1:]}" if mask in _SSN_MASKS else mask, weight) for mask, weight in learned)
    return PatternProvider(request, safe)


def _numbers(request: Request, start: int, count: int, size: int) -> Integers:
    stream = request.stream("number")
    if not request.unique:
        return stream.below(start, count, size)
    if start + count > size:
        raise request.too_few("that the standard has")
    return stream.permuted(rows(start, count), size)


def _padded(numbers: Integers, width: int) -> pa.Array:
    places = 10 ** np.arange(width - 1, -1, -1)
    return fixed_width((numbers[:, None] // places % 10 + ord("0")).astype(np.uint8))


def _hex_letters(request: Request, start: int, count: int, length: int) -> NDArray[np.uint8]:
    words = [
        request.stream(f"hex {number}").words(start, count) for number in range((length + _WORD_HEX - 1) // _WORD_HEX)
    ]
    octets = np.stack(words, axis=1).view(np.uint8)
    letters = np.empty((count, 2 * octets.shape[1]), np.uint8)
    letters[:, 0::2], letters[:, 1::2] = _HEX[octets >> 4], _HEX[octets & 15]
    return np.ascontiguousarray(letters[:, :length])
