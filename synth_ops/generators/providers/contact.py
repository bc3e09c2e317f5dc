"""Telephone numbers and addresses on the net that lead nowhere."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from synth_ops.generators.providers.arrow_text import digits, joined, pseudo_words
from synth_ops.generators.providers.pattern import PatternProvider
from synth_ops.generators.providers.randomness import rows
from synth_ops.generators.providers.request import Provider, Request

_FICTIONAL = (
    r"\+\1-199-\5\5\5-\0\199",
    r"199-\5\5\5-\0\199",
    r"199\5\5\5\0\199",
    r"\5\5\5-\0\199",
    r"\5\5\5\0\199",
)
"""The numbers 555-0100 to 555-0199 of North America belong to nobody."""
_UNASSIGNED = r"\+\9\9\9"
"""No country has the prefix +999."""
_FEWEST_DIGITS, _DIGITS = 6, 10
_PRIVATE_ADDRESSES = 2**24
_WEB, _SHORT_WEB = "https://www.example.com/", "x.test/"


def phone_provider(request: Request) -> Provider:
    """Fictional numbers; extensions and other short ones in the source's own format."""
    limit = request.limit
    if request.unique:
        free = _DIGITS if limit is None else min(_DIGITS, limit - len("+999"))
        return PatternProvider(request, ((_UNASSIGNED + "9" * free, 1.0),) if free >= _FEWEST_DIGITS else ())
    fitting = [mask for mask in _FICTIONAL if limit is None or len(mask.replace("\\", "")) <= limit]
    return PatternProvider(request, ((fitting[0], 1.0),) if fitting else ())


class UrlProvider:
    """Pages of example.com, another one a row."""

    def __init__(self, request: Request) -> None:
        longest = len(str(request.expected_rows)) + len(_WEB)
        self._start = _WEB if request.limit is None or request.limit >= longest else _SHORT_WEB

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        return joined(self._start, pseudo_words(rows(start, count)))


class AddressOnNetProvider:
    """IPv4 addresses of the private network 10.0.0.0/8."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        stream = self._request.stream("ip")
        if self._request.unique:
            if start + count > _PRIVATE_ADDRESSES:
                raise self._request.too_few("10.x.x.x")
            number = stream.permuted(rows(start, count), _PRIVATE_ADDRESSES)
        else:
            number = stream.below(start, count, _PRIVATE_ADDRESSES)
        parts = (digits(np.asarray(number >> shift & 255)) for shift in (16, 8, 0))
        first, second, third = parts
        return joined("10.", first, ".", second, ".", third)
