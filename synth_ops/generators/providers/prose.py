"""Texts: sentences of the wanted lengths, short titles, dates written down."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from synth_ops.generators.providers.arrow_text import joined, pseudo_words, sentences, where
from synth_ops.generators.providers.pattern import PatternProvider
from synth_ops.generators.providers.pools import pool, within
from synth_ops.generators.providers.randomness import Integers, Stream, rows
from synth_ops.generators.providers.request import Provider, Request

_CORPUS_WORDS = 200_000
_SENTENCE = 9
_DEFAULT_LENGTHS = ((24, 1.0), (48, 1.0), (72, 1.0))
_FEWEST_WORDS = 16
_FIRST_DAY, _DAYS = np.datetime64("2000-01-01"), 8_000
_DAY_SECONDS = 86_400
_DATE_LENGTH = len("2000-01-01")


class TextProvider:
    """Sentences of common words, about as long as the source's texts."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._text, self._starts, self._ends = _corpus()
        lengths = (request.shape.lengths if request.shape else ()) or _DEFAULT_LENGTHS
        longest = min(request.limit or len(self._text), len(self._text) // 2)
        self._lengths = np.array([min(length, longest) for length, _ in lengths])
        self._cumulative = np.cumsum([weight for _, weight in lengths]) / sum(weight for _, weight in lengths)

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        uniform = self._request.stream("length").below(start, count, 2**53) / 2.0**53
        wanted = self._lengths[np.minimum(np.searchsorted(self._cumulative, uniform, "right"), len(self._lengths) - 1)]
        if not self._request.unique:
            return self._sentences(start, count, wanted)
        mark = pseudo_words(rows(start, count))
        room = np.maximum(wanted - pc.utf8_length(mark).to_numpy() - 1, 0)
        texts = self._sentences(start, count, room)
        return within(self._request, joined(texts, where(room > 0, " ", ""), mark))

    def _sentences(self, start: int, count: int, wanted: Integers) -> pa.Array:
        first = self._starts[self._request.stream("text").below(start, count, len(self._starts) // 2)]
        last = self._ends[np.maximum(np.searchsorted(self._ends, first + wanted - 1, side="right") - 1, 0)]
        # room for a full stop where the text has none; a first word that is too long is cut
        stopped = self._text[last - 1] == ord(".")
        lengths = np.where(last > first, last - first + ~stopped, wanted)
        return sentences(self._text, first, lengths)


class TitleProvider:
    """A common word and a made-up one, so that no title is real by chance; another pair for each row if need be."""

    def __init__(self, request: Request, words: pa.Array) -> None:
        self._request, self._words = request, words

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        size = len(self._words)
        stream, index = self._request.stream("words"), rows(start, count)
        pair = (
            stream.permuted(index % size**2, size**2) if self._request.unique else stream.below(start, count, size**2)
        )
        made_up = pc.utf8_capitalize(pseudo_words(pair % size))
        title = joined(self._words.take(pa.array(pair // size)), " ", made_up)
        turn = index // size**2
        if not (self._request.unique and turn.any()):
            return title
        return within(self._request, joined(title, where(turn > 0, joined(" ", pseudo_words(turn)), "")))


class WordProvider:
    """Made-up words, for columns too narrow for others."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._size = 85 ** max(1, min((request.limit or 8) // 2, 8))

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        stream = self._request.stream("words")
        if not self._request.unique:
            return pseudo_words(stream.below(start, count, self._size))
        if start + count > self._size:
            raise self._request.too_few("of short words")
        return pseudo_words(stream.permuted(rows(start, count), self._size))


def words_provider(request: Request) -> Provider:
    """Titles where there is room for two words, else made-up words, else codes."""
    limit = request.limit
    words = _title_words(request.locale, None if limit is None else (limit - 1) // 2)
    enough = not request.unique or limit is None or len(words) ** 2 >= request.expected_rows
    if len(words) >= _FEWEST_WORDS and enough:
        return TitleProvider(request, words)
    if (limit is not None and limit < len("baba")) or request.rows > 85 ** ((limit or 8) // 2):
        return PatternProvider(request)
    return WordProvider(request)


class DateTextProvider:
    """Dates, or dates with a time where the source's texts are long enough, as ISO 8601 writes them."""

    def __init__(self, request: Request) -> None:
        self._request = request
        masks = request.shape.masks if request.shape else ()
        self._timed = (request.limit or _DATE_LENGTH) >= len("2000-01-01 00:00:00")
        self._separator = "T" if any("T" in mask for mask, _ in masks) else " "

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        size = _DAYS * _DAY_SECONDS if self._timed else _DAYS
        stream = self._request.stream("date")
        if self._request.unique and start + count > size:
            raise self._request.too_few("of dates")
        number = stream.permuted(rows(start, count), size) if self._request.unique else stream.below(start, count, size)
        moments = _FIRST_DAY.astype("datetime64[s]") + number * (1 if self._timed else _DAY_SECONDS)
        texts = pa.array(np.datetime_as_string(moments, unit="s" if self._timed else "D"))
        return texts if self._separator == "T" or not self._timed else pc.replace_substring(texts, "T", " ")


@lru_cache(maxsize=1)
def _corpus() -> tuple[NDArray[np.uint8], Integers, Integers]:
    """One long ASCII text of short sentences, with the places where its words begin and end."""
    texts = [word for word in pool("word", "en_US").to_pylist() if word.isascii()]
    chosen = Stream.named(0, "corpus").below(0, _CORPUS_WORDS, len(texts))
    words = [texts[number] for number in chosen]
    for place in range(0, _CORPUS_WORDS, _SENTENCE):
        words[place] = words[place].capitalize()
        words[place - 1] += "."
    lengths = np.array([len(word) for word in words])
    starts = np.cumsum(lengths + 1) - lengths - 1
    return np.frombuffer(" ".join(words).encode(), np.uint8), starts, starts + lengths


@lru_cache(maxsize=64)
def _title_words(locale: str, limit: int | None) -> pa.Array:
    return pc.unique(pc.utf8_capitalize(pool("word", locale, limit)))
