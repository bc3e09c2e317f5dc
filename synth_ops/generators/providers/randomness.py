"""Random numbers by row number: counter-based, so row 1,000,000 needs no row before it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

_PER_COUNT = 4
"""Philox makes four 64-bit words a count."""
_MULTIPLIERS = (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93)


@dataclass(frozen=True, slots=True)
class Stream:
    """One endless column of random words. Two streams with other names know nothing of each other."""

    key: tuple[int, int]

    @classmethod
    def named(cls, seed: int, *names: str) -> Stream:
        """The stream of a seed and of names such as table, column and purpose."""
        text = "\x1f".join((str(seed), *names)).encode()
        digest = hashlib.blake2b(text, digest_size=16).digest()
        return cls((int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")))

    def words(self, start: int, count: int) -> Words:
        """The 64-bit words of rows `start` to `start + count - 1`."""
        skipped = start % _PER_COUNT
        generator = np.random.Philox(key=np.array(self.key, np.uint64), counter=[start // _PER_COUNT, 0, 0, 0])
        return generator.random_raw(count + skipped)[skipped:]

    def below(self, start: int, count: int, size: int) -> Integers:
        """Numbers from 0 to `size - 1` (`size` at most 2**53), all as likely."""
        return ((self.words(start, count) >> np.uint64(11)) * (size / 2.0**53)).astype(np.int64)

    def permuted(self, index: NDArray[Any], size: int) -> Integers:
        """Where a secret permutation of 0 to `size - 1` puts each index (all below `size`, at most 2**62).

        A Feistel network over the next power of two; what falls outside walks on until it is inside.
        """
        bits = max(2, (size - 1).bit_length())
        result = self._feistel(index.astype(np.uint64), bits)
        outside = np.flatnonzero(result >= size)
        while len(outside):
            result[outside] = self._feistel(result[outside], bits)
            outside = outside[result[outside] >= size]
        return result.astype(np.int64)

    def _feistel(self, value: Words, bits: int) -> Words:
        low_bits = np.uint64(bits // 2)
        low_mask, high_mask = np.uint64((1 << (bits // 2)) - 1), np.uint64((1 << (bits - bits // 2)) - 1)
        high, low = value >> low_bits, value & low_mask
        for turn in range(3):
            high = high ^ (_mixed(low, self.key[0] + turn) & high_mask)
            low = low ^ (_mixed(high, self.key[1] + turn) & low_mask)
        return (high << low_bits) | low


def rows(start: int, count: int) -> Integers:
    """The row numbers of a shard."""
    return np.arange(start, start + count, dtype=np.int64)


def _mixed(value: Words, key: int) -> Words:
    mixed = (value + np.uint64(key % 2**64)) * np.uint64(_MULTIPLIERS[0])
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(_MULTIPLIERS[1])
    return mixed >> np.uint64(29)
