"""Histogram trees: grown on binned inputs to split a target's codes, applied to millions of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synth_ops.generators.relational_trees.kernels import compiled

BINS = 256
_STACK = 64
_TINY = 1e-9
_TOGETHER = 8
"""Rows that go down a tree side by side: the processor waits for the memory of all of them at once."""

Codes = npt.NDArray[np.int32]
Bins = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A binary tree over binned inputs; node 0 is the root.

    Attributes:
        feature: The input that a node splits on; -1 for a leaf.
        threshold: Rows whose bin is at most this go left.
        left: The left child; the right one is the next node.
        parent: The parent; -1 for the root.
    """

    feature: npt.NDArray[np.int16]
    threshold: Bins
    left: Codes
    parent: Codes

    def apply(self, inputs: Bins) -> Codes:
        """The leaf of every row; `inputs` has one row an input, one column a row."""
        leaves = np.zeros(inputs.shape[1], dtype=np.int32)
        if len(self.feature) > 1:
            _apply(inputs, self.feature, self.threshold, self.left, leaves)
        return leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """Rows that hang together: of one subject, or of one parent.

    Attributes:
        of: The cluster of every row, from 0 on; empty where each row stands alone.
        sharing: How much the rows of a cluster have each input in common: 0 is not at all, 1 is wholly.
    """

    of: Codes
    sharing: Floats


def grow(inputs: Bins, targets: Floats, clusters: Clusters, *, min_leaf: int, penalty: float) -> Tree:
    """Grow a tree that lowers the targets' variance.

    Rows of one cluster are not independent of each other: a split by what they share tells clusters apart, and clusters
    differ by chance more than rows do. What such a split lowers by chance grows by how alike a cluster's rows are in
    the input and in the target (Moulton, 1986), and so does what is asked of it.

    Args:
        inputs: Bins, shape (inputs, rows).
        targets: Shape (rows, dimensions); their summed variance is the impurity.
        min_leaf: The fewest rows in a leaf.
        clusters: Which rows hang together.
        penalty: A split must lower the summed squares by this many times what it lowers by chance: a guard against
            splits on noise.
    """
    inputs_count, rows = inputs.shape
    if inputs_count == 0 or rows < 2 * min_leaf:
        return Tree(
            feature=np.full(1, -1, np.int16),
            threshold=np.zeros(1, np.uint8),
            left=np.zeros(1, np.int32),
            parent=np.full(1, -1, np.int32),
        )
    width = int(inputs.max()) + 1  # bins beyond it hold no row
    feature, threshold, left, parent = _grow(
        inputs, width, np.ascontiguousarray(targets), clusters.of, clusters.sharing, min_leaf, penalty
    )
    return Tree(feature=feature, threshold=threshold, left=left, parent=parent)


@compiled
def _apply(inputs, feature, threshold, left, leaves):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    # all that a step needs in one number, read at once; a leaf leads to itself
    nodes = np.empty(feature.shape[0], np.int64)
    for node in range(feature.shape[0]):
        if feature[node] >= 0:
            nodes[node] = (np.int64(left[node]) << 32) | (np.int64(feature[node]) << 8) | np.int64(threshold[node])
        else:
            nodes[node] = (np.int64(node) << 32) | 255
    rows = inputs.shape[1]
    for first in range(0, rows, _TOGETHER):
        last = min(first + _TOGETHER, rows)
        moved = True
        while moved:
            moved = False
            for row in range(first, last):
                node = leaves[row]
                step = nodes[node]
                following = np.int32(step >> 32) + np.int32(np.int64(inputs[(step >> 8) & 0xFFFF, row]) > (step & 0xFF))
                moved |= following != node
                leaves[row] = following


@compiled
def _fill(histogram, inputs, targets, order, start, end):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    dimensions = targets.shape[1]
    histogram[:] = 0.0
    for number in range(inputs.shape[0]):
        column = inputs[number]
        cells = histogram[number]
        for position in range(start, end):
            row = order[position]
            cell = cells[column[row]]
            cell[dimensions] += 1.0
            for d in range(dimensions):
                cell[d] += targets[row, d]


@compiled
def _best_split(histogram, total, count, min_leaf, noise):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The split that lowers the squares most beyond what each input must; -1 where none does."""
    dimensions = total.shape[0]
    base = 0.0
    for d in range(dimensions):
        base += total[d] * total[d] / count
    best_gain, best_feature, best_bin = 0.0, -1, 0
    left_sum = np.zeros(dimensions)
    for number in range(histogram.shape[0]):
        cells = histogram[number]
        left_sum[:] = 0.0
        left_count = 0.0
        for position in range(cells.shape[0] - 1):
            added = cells[position, dimensions]
            if added == 0.0:
                continue
            left_count += added
            for d in range(dimensions):
                left_sum[d] += cells[position, d]
            right_count = count - left_count
            if left_count < min_leaf:
                continue
            if right_count < min_leaf:
                break
            gain = -base - noise[number]
            for d in range(dimensions):
                rest = total[d] - left_sum[d]
                gain += left_sum[d] * left_sum[d] / left_count + rest * rest / right_count
            if gain > best_gain:
                best_gain, best_feature, best_bin = gain, number, position
    return best_feature, best_bin


@compiled
def _partition(column, split, order, start, end, spare):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    kept, moved = start, 0
    for position in range(start, end):
        row = order[position]
        if column[row] <= split:
            order[kept] = row
            kept += 1
        else:
            spare[moved] = row
            moved += 1
    for position in range(moved):
        order[kept + position] = spare[position]
    return kept


@compiled
def _variances(targets, order, start, end, total, clusters, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The variance of rows, and what each adds to it together with the others of its cluster; `sums` is left as 0."""
    size, dimensions, clustered = end - start, targets.shape[1], len(clusters) > 0
    alone, together = 0.0, 0.0
    for d in range(dimensions):
        mean = total[d] / size
        for position in range(start, end):
            row = order[position]
            apart = targets[row, d] - mean
            alone += apart * apart
            if clustered:
                sums[clusters[row]] += apart
        for position in range(start, end if clustered else start):
            cluster = clusters[order[position]]
            together += sums[cluster] * sums[cluster]
            sums[cluster] = 0.0
    return alone / size, together / size


@compiled
def _grow(inputs, width, targets, clusters, sharing, min_leaf, penalty):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Depth first, the smaller child first, so that few histograms live at once; the larger child's is a difference."""
    count, (rows, dimensions) = inputs.shape[0], targets.shape
    capacity = 2 * (rows // min_leaf) + 3
    feature = np.full(capacity, -1, np.int16)
    threshold = np.zeros(capacity, np.uint8)
    left = np.zeros(capacity, np.int32)
    parent = np.full(capacity, -1, np.int32)
    order = np.arange(rows)
    spare = np.empty(rows, np.int64)
    histograms = np.empty((_STACK, count, width, dimensions + 1))
    starts, ends, nodes = np.zeros(_STACK, np.int64), np.zeros(_STACK, np.int64), np.zeros(_STACK, np.int64)
    sums = np.zeros(clusters.max() + 1 if len(clusters) else 0)
    noise = np.empty(count)
    ends[0] = rows
    _fill(histograms[0], inputs, targets, order, 0, rows)
    used, depth = 1, 1
    while depth > 0:
        slot = depth - 1
        start, end, node = starts[slot], ends[slot], nodes[slot]
        size = end - start
        histogram = histograms[slot]
        total = np.zeros(dimensions)
        for position in range(width):
            for d in range(dimensions):
                total[d] += histogram[0, position, d]
        alone, together = _variances(targets, order, start, end, total, clusters, sums)
        for number in range(count):
            noise[number] = penalty * (alone + sharing[number] * max(together - alone, 0.0)) + _TINY
        best, split = _best_split(histogram, total, float(size), min_leaf, noise)
        if best < 0 or depth >= _STACK:
            depth -= 1
            continue
        middle = _partition(inputs[best], split, order, start, end, spare)
        feature[node], threshold[node], left[node] = best, split, used
        parent[used], parent[used + 1] = node, node
        smaller_is_left = middle - start <= end - middle
        if smaller_is_left:
            _fill(histograms[depth], inputs, targets, order, start, middle)
            starts[depth], ends[depth], nodes[depth] = start, middle, used
            starts[slot], ends[slot], nodes[slot] = middle, end, used + 1
        else:
            _fill(histograms[depth], inputs, targets, order, middle, end)
            starts[depth], ends[depth], nodes[depth] = middle, end, used + 1
            starts[slot], ends[slot], nodes[slot] = start, middle, used
        histograms[slot] -= histograms[depth]
        used += 2
        depth += 1
    return feature[:used].copy(), threshold[:used].copy(), left[:used].copy(), parent[:used].copy()
