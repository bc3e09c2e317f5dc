"""A block of one input: P(target | bin of the input) as a table, drawn from in constant time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.kernels import compiled
from synth_ops.generators.relational_trees.tree import Bins, Codes

BINS = 256
_FEWEST_ROWS = 20
_BACK = -1
_ONE = 2.0**32


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalTable:
    """A histogram of target codes for each bin of one input, and one of all rows.

    Each histogram is an alias table (Walker, 1977; built as Vose does, 1991): a place in it, drawn uniformly, holds one
    code, which is drawn with the place's own probability, and an alias, which is drawn else. Of every bin's histogram
    one code means that the histogram of all rows is to be drawn from, so that a bin of few rows tells little.

    Attributes:
        bins: The histogram of each of the input's codes; 0 is that of all rows; empty where there is no input.
        starts: Where each histogram's places start; one more entry than histograms.
        keep: The probability of a place's own code, times 2**32.
        codes, aliases: The code that each place holds, and its alias.
    """

    bins: Bins
    starts: npt.NDArray[np.int64]
    keep: npt.NDArray[np.uint32]
    codes: Codes
    aliases: Codes

    def draw(self, inputs: Sequence[Codes], rows: int, generator: np.random.Generator) -> Codes:
        """Draw a target code for every row; see `block.Block.draw`."""
        histograms = np.take(self.bins, inputs[0], mode="clip") if inputs else np.zeros(rows, np.uint8)
        words = generator.bit_generator.random_raw(rows)
        drawn = np.empty(rows, np.int32)
        _draw(histograms, self.starts, self.keep, self.codes, self.aliases, words, drawn)
        return drawn


def fit_conditional(target: Variable, inputs: Sequence[Variable], alpha: float) -> ConditionalTable:
    """Count target codes in every bin of the one input, if there is one.

    Args:
        target: Rows with a negative code are not learned from.
        alpha: How many rows the histogram of all rows counts for beside a bin's own.
    """
    known = np.flatnonzero(target.codes >= 0)
    codes = target.codes[known]
    overall = np.bincount(codes, minlength=target.size) if len(codes) else np.eye(1, target.size, dtype=np.int64)[0]
    tables = [_alias_table(np.flatnonzero(overall), overall[overall > 0].astype(np.float64))]
    bins = np.empty(0, np.uint8)
    for variable in inputs[:1]:
        place = _bins(variable, variable.codes[known])
        histograms = np.zeros(BINS, np.uint8)
        keys, counts = np.unique(
            place[variable.codes[known]].astype(np.int64) * target.size + codes, return_counts=True
        )
        owners, firsts = np.unique(keys // target.size, return_index=True)
        for owner, first, last in zip(owners, firsts, np.append(firsts[1:], len(keys))[: len(firsts)], strict=True):
            own = counts[first:last].astype(np.float64)
            if own.sum() >= _FEWEST_ROWS and len(tables) < BINS:
                histograms[owner] = len(tables)
                held = np.append(keys[first:last] % target.size, _BACK)
                tables.append(_alias_table(held, np.append(own, alpha)))
        bins = histograms[place]
    starts = np.concatenate([[0], np.cumsum([len(codes) for _, codes, _ in tables])]).astype(np.int64)
    keep, own_codes, aliases = (np.concatenate(parts) for parts in zip(*tables, strict=True))
    return ConditionalTable(bins=bins, starts=starts, keep=keep, codes=own_codes, aliases=aliases)


def _bins(variable: Variable, codes: Codes) -> Bins:
    """The bin of every code: its own where there are few, else one among neighbours, or among the rare."""
    if variable.size <= BINS:
        return np.arange(variable.size).astype(np.uint8)
    counts = np.bincount(codes, minlength=variable.size)
    if variable.ordered:
        middle = np.cumsum(counts) - counts / 2
        rank = (middle * (BINS / max(counts.sum(), 1))).astype(np.int64)
    else:
        rank = np.empty(variable.size, np.int64)
        rank[np.argsort(-counts, kind="stable")] = np.arange(variable.size)
    bins: Bins = np.minimum(rank, BINS - 1).astype(np.uint8)
    return bins


def _alias_table(
    codes: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.uint32], Codes, Codes]:
    shares = weights * (len(weights) / weights.sum())
    place = np.arange(len(shares))
    _pair(shares, place)
    keep = np.minimum(shares * _ONE, _ONE - 1).astype(np.uint32)
    return keep, codes.astype(np.int32), codes[place].astype(np.int32)


@compiled
def _pair(shares, place):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Fill every place that is less than full with what another one has too much of."""
    size = shares.shape[0]
    small, large = np.empty(size, np.int64), np.empty(size, np.int64)
    smalls, larges = 0, 0
    for number in range(size):
        if shares[number] < 1.0:
            small[smalls] = number
            smalls += 1
        else:
            large[larges] = number
            larges += 1
    while smalls > 0 and larges > 0:
        smalls -= 1
        less, more = small[smalls], large[larges - 1]
        place[less] = more
        shares[more] -= 1.0 - shares[less]
        if shares[more] < 1.0:
            larges -= 1
            small[smalls] = more
            smalls += 1
    for number in range(smalls):
        shares[small[number]] = 1.0
    for number in range(larges):
        shares[large[number]] = 1.0


@compiled
def _draw(histograms, starts, keep, codes, aliases, words, drawn):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for row in range(histograms.shape[0]):
        word = words[row]
        histogram = histograms[row]
        for _ in range(2):
            first = starts[histogram]
            size = np.uint64(starts[histogram + 1] - first)
            place = first + np.int64(((word >> np.uint64(32)) * size) >> np.uint64(32))
            code = codes[place] if np.uint32(word & np.uint64(0xFFFFFFFF)) < keep[place] else aliases[place]
            if code >= 0:
                break
            histogram = 0
            word = (word ^ (word >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)  # another word from the same
            word ^= word >> np.uint64(32)
        drawn[row] = code
