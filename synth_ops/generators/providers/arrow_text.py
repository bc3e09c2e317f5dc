"""Arrow strings straight from NumPy, without a Python object a row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from synth_ops.generators.providers.randomness import Integers

_ROOM = 2**31 - 1
"""How many bytes 32-bit offsets reach."""
_CONSONANTS, _VOWELS = "bdfghjklmnprstvwz", "aeiou"
_SYLLABLES = [first + second for first in _CONSONANTS for second in _VOWELS]


def fixed_width(characters: NDArray[np.uint8]) -> pa.Array:
    """Strings from a matrix of ASCII codes, one row each."""
    count, width = characters.shape
    return from_buffer(np.ascontiguousarray(characters).reshape(-1), np.full(count, width, np.int64))


def sentences(text: NDArray[np.uint8], starts: Integers, lengths: Integers) -> pa.Array:
    """Strings cut from one long ASCII text, with a capital at the beginning and a full stop as the last character."""
    ends = np.cumsum(lengths)
    places = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)
    characters = text[places]
    first = (ends - lengths)[lengths > 0]
    characters[first] -= (32 * (characters[first] >= ord("a"))).astype(np.uint8)
    characters[ends[lengths > 1] - 1] = ord(".")
    return from_buffer(characters, lengths)


def from_buffer(characters: NDArray[np.uint8], lengths: Integers) -> pa.Array:
    """Strings that lie one after the other."""
    ends = np.cumsum(lengths)
    large = len(ends) > 0 and int(ends[-1]) > _ROOM
    offsets = np.zeros(len(lengths) + 1, np.int64 if large else np.int32)
    offsets[1:] = ends
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(characters))]
    return pa.Array.from_buffers(pa.large_string() if large else pa.string(), len(lengths), buffers)


def joined(*parts: pa.Array | str) -> pa.Array:
    """Strings put together row by row."""
    return pc.binary_join_element_wise(*(pa.scalar(part) if isinstance(part, str) else part for part in parts), "")


def digits(numbers: Integers) -> pa.Array:
    """Numbers as strings."""
    return pc.cast(pa.array(numbers), pa.string())


def where(condition: NDArray[np.bool_], yes: pa.Array | str, no: pa.Array | str) -> pa.Array:
    """One string or the other, row by row."""
    return pc.if_else(pa.array(condition), yes, no)


def pseudo_words(numbers: Integers) -> pa.Array:
    """A speakable word for every number, another one for each.

    >>> pseudo_words(np.array([0, 84, 85])).to_pylist()
    ['ba', 'zu', 'beba']
    """
    syllables = pa.array(_SYLLABLES)
    word: pa.Array | None = None
    rest = numbers
    while word is None or rest.any():
        part = syllables.take(pa.array(rest % len(_SYLLABLES)))
        word = part if word is None else joined(where(rest > 0, part, ""), word)
        rest = rest // len(_SYLLABLES)
    return word
