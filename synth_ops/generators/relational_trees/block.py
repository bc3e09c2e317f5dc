"""A block: P(target | inputs) as one tree and the histograms of its leaves, backed off to their ancestors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synth_ops.generators.relational_trees.kernels import compiled
from synth_ops.generators.relational_trees.tree import BINS, Bins, Clusters, Codes, Floats, Tree, grow
from synth_ops.sql import K_SUBJECTS

_EMBEDDING = 12
_BACKOFF_LEVELS = 2
_FIT_SMOOTHING = 10.0
_USUAL_ROWS = 20_000
_LEAST_EVIDENCE = 2.0
_SHARING_ROWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """Codes of one column, as blocks see them.

    Attributes:
        codes: 0 is NULL; shape (rows,).
        size: Codes run from 0 to `size - 1`.
        ordered: Whether near codes mean near values.
        places: Where each code stands, if some are more alike than others; shape (size, dimensions).
        between: Whether a code between two seen ones may stand for either: numbers, of which few rows tell no more.
    """

    codes: Codes
    size: int
    ordered: bool
    places: Floats | None = None
    between: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSettings:
    """How much a block remembers.

    Attributes:
        min_leaf: The fewest rows in a leaf.
        alpha: Weight of a leaf's ancestors, in rows for each code that the leaf has seen (Witten and Bell, 1991): where
            all rows agree the leaf is believed, where each row differs its ancestors are.
        evidence: By how many standard deviations a split must explain more than chance, when 20,000 rows are learned
            from; see `_penalty`. This, not the size of leaves, keeps trees from learning rows by heart: a leaf may be
            small where its rows agree, and stays large where they don't.
        grow_rows: At most so many rows, drawn at random, grow the tree; all rows fill its leaves.
    """

    min_leaf: int = 20
    alpha: float = 1.5
    evidence: float = 2.2
    grow_rows: int = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """P(target | inputs), as arrays.

    Attributes:
        tree: Its structure.
        bins: For every input, the bin of each of its codes, end to end.
        bin_starts: Where each input's part of `bins` starts; one more entry than inputs.
        histogram_of: The histogram of each tree node; -1 where it has none.
        next_histogram: The histogram to back off to; -1 at the root's.
        backoff: The probability of doing so.
        starts: Where each histogram's part of `codes` and `cumulative` starts; one more entry than histograms.
        codes: Target codes seen.
        cumulative: Running counts of them within each histogram.
        between: Whether a code that fewer than k rows of a histogram have says only between which others of it the
            code lies: which one of these it is, all rows together say.
    """

    tree: Tree
    bins: Bins
    bin_starts: npt.NDArray[np.int64]
    histogram_of: Codes
    next_histogram: Codes
    backoff: Floats
    starts: npt.NDArray[np.int64]
    codes: Codes
    cumulative: npt.NDArray[np.int64]
    between: bool = False

    def used_inputs(self) -> npt.NDArray[np.int64]:
        """The places of the inputs that the tree splits on, in order."""
        return np.unique(self.tree.feature[self.tree.feature >= 0]).astype(np.int64)

    def of_inputs(self, places: npt.NDArray[np.int64]) -> Block:
        """The same block, of some inputs: at least those that it uses."""
        new = np.full(len(self.bin_starts), -1, np.int16)
        new[places] = np.arange(len(places))
        parts = [self.bins[self.bin_starts[place] : self.bin_starts[place + 1]] for place in places]
        return dataclasses.replace(
            self,
            tree=dataclasses.replace(self.tree, feature=new[self.tree.feature]),
            bins=np.concatenate(parts) if parts else np.empty(0, np.uint8),
            bin_starts=np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64),
        )

    def draw(self, inputs: Sequence[Codes], rows: int, generator: np.random.Generator) -> Codes:
        """Draw a target code for every row.

        Args:
            inputs: Codes of each input, in the order of fitting.
            rows: How many to draw (there may be no inputs).
        """
        binned = _binned(inputs, self.bins, self.bin_starts, rows)
        leaves = self.tree.apply(binned)
        uniforms = generator.random((rows, _BACKOFF_LEVELS + 2))
        if len(self.tree.feature) == 1:  # nothing to depend on: every code as often as its share says
            uniforms[:, -1] = (generator.permutation(rows) + uniforms[:, -1]) / max(rows, 1)
        drawn: Codes = _draw(
            self.histogram_of[leaves],
            self.next_histogram,
            self.backoff,
            self.starts,
            self.codes,
            self.cumulative,
            uniforms,
            K_SUBJECTS if self.between else 0,
        )
        return drawn


def fit_block(
    target: Variable,
    inputs: Sequence[Variable],
    settings: BlockSettings,
    generator: np.random.Generator,
    clusters: Codes | None = None,
) -> Block:
    """Learn P(target | inputs) from rows.

    Args:
        target: What to draw later; rows with a negative code are not learned from.
        inputs: What it depends on.
        generator: For the choice of rows to grow on, and the embedding of many categories.
        clusters: A number from 0 on for every row; rows of one number hang together. None: each stands alone.
    """
    known = np.flatnonzero(target.codes >= 0)
    codes = target.codes[known]
    rows = len(codes)
    chosen = np.arange(rows)
    if rows > settings.grow_rows:
        chosen = np.sort(generator.choice(rows, settings.grow_rows, replace=False))
    embedded = _embed(target, codes, generator) if target.places is None else target.places
    maps = [_bin_map(variable, known[chosen], embedded[codes[chosen]]) for variable in inputs]
    bin_starts = np.concatenate([[0], np.cumsum([len(part) for part in maps])]).astype(np.int64)
    bins = np.concatenate(maps) if maps else np.empty(0, np.uint8)
    binned = _binned([variable.codes[known] for variable in inputs], bins, bin_starts, rows)
    min_leaf = max(1, min(settings.min_leaf, max(5, rows // 40)))
    share = len(chosen) / rows if rows else 1.0
    growing = binned[:, chosen] if rows > settings.grow_rows else binned
    tree = grow(
        np.ascontiguousarray(growing),
        embedded[codes[chosen]],
        _clusters(growing, None if clusters is None else clusters[known[chosen]]),
        min_leaf=max(2, int(min_leaf * share)),
        penalty=_penalty(embedded[codes[chosen]], settings.evidence),
    )
    block = _with_histograms(tree, tree.apply(binned), codes, target.size, bins, bin_starts, settings.alpha)
    return dataclasses.replace(block, between=target.between)


def _embed(target: Variable, codes: Codes, generator: np.random.Generator) -> Floats:
    """A few numbers for each target code, whose variance is the impurity that trees lower.

    Ordered: the code's rank, and whether it is NULL. Two or three categories: one-hot. More: a random projection of the
    one-hot vectors, which keeps their variance (the Gini impurity) in expectation (Johnson and Lindenstrauss).
    """
    size = target.size
    counts = np.bincount(codes, minlength=size).astype(np.float64)
    if target.ordered:
        rank = np.cumsum(counts) - counts / 2
        present = counts[1:].sum()
        values = (rank - counts[0]) / max(present, 1.0)
        null = np.zeros(size)
        null[0] = 1.0
        values[0] = values[1:] @ counts[1:] / max(present, 1.0) if size > 1 else 0.0
        columns = [values * np.sqrt(12.0), null * 2.0] if counts[0] else [values * np.sqrt(12.0)]
        return np.column_stack(columns).astype(np.float32)
    if size <= _EMBEDDING:
        return np.eye(size, dtype=np.float32)
    projected: Floats = generator.choice([-1.0, 1.0], size=(size, _EMBEDDING)).astype(np.float32)
    return projected / np.float32(np.sqrt(_EMBEDDING))


def _penalty(targets: Floats, evidence: float) -> float:
    """How many times a node's own variance a split must explain (see `tree.grow`).

    A split on noise explains it once, give or take the square root of two over the number of independent dimensions
    that the targets are worth (chi-squared; Satterthwaite, 1946). The more rows, the more splits are tried, and the
    more of them succeed by chance: as in Schwarz's criterion (1978), what is asked for grows with the logarithm.
    """
    if len(targets) < 2:  # noqa: PLR2004  no variance
        return 1.0
    spread = np.atleast_2d(np.cov(targets, rowvar=False))
    squares = float((spread**2).sum())
    dimensions = float(np.trace(spread) ** 2 / squares) if squares else 1.0
    deviations = max(evidence + np.log(len(targets) / _USUAL_ROWS), min(evidence, _LEAST_EVIDENCE))
    return float(1.0 + deviations * np.sqrt(2.0 / dimensions))


def _clusters(inputs: Bins, of: Codes | None) -> Clusters:
    """Which rows hang together, and how much of each input they share: its intraclass correlation (Fisher, 1925)."""
    sharing = np.zeros(len(inputs), np.float32)
    if of is None or not len(of):
        return Clusters(of=np.empty(0, np.int32), sharing=sharing)
    sizes = np.bincount(of)
    looked_at = np.cumsum(np.where(sizes > 1, sizes, 0)) <= max(_SHARING_ROWS, int(sizes.max()))
    rows = np.flatnonzero((looked_at & (sizes > 1))[of])
    owner = np.unique(of[rows], return_inverse=True)[1]
    counts = np.bincount(owner)
    for number, values in enumerate(inputs if len(rows) else ()):
        ranks = values[rows].astype(np.float64)
        apart = ranks - (np.bincount(owner, weights=ranks) / counts)[owner]
        whole = ranks.var() * len(rows)
        within = (apart**2).sum() * len(rows) / (len(rows) - len(counts))
        sharing[number] = max(1 - within / whole, 0.0) if whole > 0 else 0.0
    return Clusters(of=of, sharing=sharing)


def _bin_map(variable: Variable, rows: npt.NDArray[np.int64], targets: Floats) -> Bins:
    """The bin of every code of an input: by rank where codes are ordered, else by the targets' mean, NULL first."""
    codes = variable.codes[rows]
    counts = np.bincount(codes, minlength=variable.size).astype(np.float64)
    if variable.ordered:
        return _squeeze(np.arange(variable.size), counts)
    overall = targets.mean(axis=0) if len(targets) else np.zeros(targets.shape[1])
    means = np.column_stack(
        [np.bincount(codes, weights=targets[:, d], minlength=variable.size) for d in range(targets.shape[1])]
    )
    means = (means + _FIT_SMOOTHING * overall) / (counts + _FIT_SMOOTHING)[:, None] - overall
    direction = np.linalg.eigh((means * counts[:, None]).T @ means)[1][:, -1]
    order = np.argsort(means @ direction, kind="stable")
    position = np.empty(variable.size, dtype=np.int64)
    position[order] = np.arange(variable.size)
    return _squeeze(position, counts)


def _squeeze(position: npt.NDArray[np.int64], counts: npt.NDArray[np.float64]) -> Bins:
    """At most 256 bins of about equal weight, in the order of `position`."""
    if len(position) <= BINS:
        return position.astype(np.uint8)
    ordered = np.zeros(len(position))
    ordered[position] = counts
    middle = np.cumsum(ordered) - ordered / 2
    bins: Bins = np.minimum(middle * (BINS / max(ordered.sum(), 1.0)), BINS - 1).astype(np.uint8)[position]
    return bins


def _binned(inputs: Sequence[Codes], bins: Bins, starts: npt.NDArray[np.int64], rows: int) -> Bins:
    result = np.empty((len(inputs), rows), dtype=np.uint8)
    for number, codes in enumerate(inputs):
        _bin(bins[starts[number] : starts[number + 1]], codes, result[number])
    return result


def _with_histograms(
    tree: Tree,
    leaves: Codes,
    codes: Codes,
    size: int,
    bins: Bins,
    bin_starts: npt.NDArray[np.int64],
    alpha: float,
) -> Block:
    """Count target codes in every leaf, its nearest ancestors and the root."""
    nodes = len(tree.feature)
    keys, counts = np.unique(leaves.astype(np.int64) * size + codes, return_counts=True)
    if not len(keys):
        keys, counts = np.zeros(1, np.int64), np.ones(1, np.int64)
    wanted = _near_leaves(tree)
    kept_keys, kept_counts = [], []
    while len(keys):
        near = wanted[keys // size]
        kept_keys.append(keys[near])
        kept_counts.append(counts[near])
        above = tree.parent[keys // size]
        climbing = above >= 0
        moved = above[climbing].astype(np.int64) * size + keys[climbing] % size
        keys, inverse = np.unique(moved, return_inverse=True)
        counts = np.bincount(inverse, weights=counts[climbing], minlength=len(keys)).astype(np.int64)
    key, inverse = np.unique(np.concatenate(kept_keys), return_inverse=True)
    count = np.bincount(inverse, weights=np.concatenate(kept_counts), minlength=len(key)).astype(np.int64)
    owner = key // size
    histogram_nodes, sizes = np.unique(owner, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    histogram_of = np.full(nodes, -1, np.int32)
    histogram_of[histogram_nodes] = np.arange(len(histogram_nodes))
    running = np.cumsum(count)
    before = np.concatenate([[0], running])[starts[:-1]]
    totals = np.diff(np.concatenate([[0], running])[starts])
    next_histogram = _next_histograms(tree, histogram_nodes, histogram_of)
    weight = alpha * sizes
    backoff = np.where(next_histogram >= 0, weight / (totals + weight), 0.0).astype(np.float32)
    return Block(
        tree=tree,
        bins=bins,
        bin_starts=bin_starts,
        histogram_of=_nearest_histogram(tree, histogram_of),
        next_histogram=next_histogram,
        backoff=backoff,
        starts=starts,
        codes=(key % size).astype(np.int32),
        cumulative=running - np.repeat(before, sizes),
    )


def _near_leaves(tree: Tree) -> npt.NDArray[np.bool_]:
    """Which nodes keep a histogram: leaves, their nearest ancestors, and the root."""
    near = tree.feature < 0
    frontier = np.flatnonzero(near)
    for _ in range(_BACKOFF_LEVELS):
        above = tree.parent[frontier]
        frontier = np.unique(above[above >= 0])
        near[frontier] = True
    near[0] = True
    return near


def _next_histograms(tree: Tree, nodes: npt.NDArray[np.int64], histogram_of: Codes) -> Codes:
    following = np.full(len(nodes), -1, np.int32)
    for number, node in enumerate(nodes):
        above = tree.parent[node]
        while above >= 0 and histogram_of[above] < 0:
            above = tree.parent[above]
        following[number] = histogram_of[above] if above >= 0 else -1
    return following


def _nearest_histogram(tree: Tree, histogram_of: Codes) -> Codes:
    """A leaf that no row fell into uses its parent's histogram."""
    result = histogram_of.copy()
    for node in range(1, len(result)):
        if result[node] < 0:
            result[node] = result[tree.parent[node]]
    return result


@compiled
def _bin(bins, codes, result):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    last = bins.shape[0] - 1
    for row in range(codes.shape[0]):
        result[row] = bins[min(max(codes[row], 0), last)]


@compiled
def _among(codes, cumulative, least, most, uniform):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """One of the codes from `least` to `most`, as often as a histogram has them."""
    low, high = np.searchsorted(codes, least), np.searchsorted(codes, most, side="right") - 1
    below = cumulative[low - 1] if low > 0 else 0
    wanted = below + uniform * (cumulative[high] - below)
    return codes[min(low + np.searchsorted(cumulative[low : high + 1], wanted, side="right"), high)]


@compiled
def _draw(histograms, following, backoff, starts, codes, cumulative, uniforms, few):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    levels = uniforms.shape[1] - 1
    drawn = np.empty(histograms.shape[0], np.int32)
    for row in range(histograms.shape[0]):
        histogram = histograms[row]
        for level in range(levels):
            if uniforms[row, level] >= backoff[histogram]:
                break
            histogram = following[histogram]
        low, high = starts[histogram], starts[histogram + 1] - 1
        wanted = uniforms[row, levels] * cumulative[high]
        while low < high:
            middle = (low + high) // 2
            if cumulative[middle] > wanted:
                high = middle
            else:
                low = middle + 1
        first = starts[histogram]
        below = cumulative[low - 1] if low > first else 0
        count = cumulative[low] - below
        if count >= few or codes[low] == 0:
            drawn[row] = codes[low]
            continue
        # the rest of the uniform number says on which side, and where
        side = 2.0 * (wanted - below) / count
        least, most = codes[low], codes[low]
        if side < 1.0:
            least = codes[low - 1] + 1 if low > first and codes[low - 1] > 0 else least
        else:
            side -= 1.0
            most = codes[low + 1] - 1 if low < starts[histogram + 1] - 1 else most
        drawn[row] = _among(codes[: starts[1]], cumulative[: starts[1]], least, most, side)
    return drawn
