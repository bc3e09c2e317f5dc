"""Keep the best state of a network, not its last one: that whose rows are nearest to the table's.

The losses of adversaries say nothing of how good rows are, and those of an autoencoder little. So now and then some
rows are drawn, and compared with the table's in single columns and in pairs of them.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

_SLOWER = 1.15
"""A network is looked at again when it has learned so many times as long: it moves less and less."""
_ROWS = 4_000
_BINS, _COARSE, _MOST_PAIRS = 20, 8, 40

Codes = npt.NDArray[np.int64]


class Nearness:
    """How far rows are from a table: the mean total variation distance of columns, and of pairs of columns.

    Args:
        table: What a network learns from: labels, and numbers.

    >>> import pandas as pd
    >>> near = Nearness(pd.DataFrame({"a": ["x", "y"] * 5, "b": [0.0, 1.0] * 5}))
    >>> near.distance(pd.DataFrame({"a": ["x", "y"], "b": [0.0, 1.0]}))
    0.0
    >>> near.distance(pd.DataFrame({"a": ["x", "y"], "b": [1.0, 0.0]}))
    0.5
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self._labels: dict[str, Mapping[Any, int]] = {}
        self._edges: dict[str, npt.NDArray[np.float64]] = {}
        for name in table.columns:
            if table[name].dtype.kind == "f":
                self._edges[name] = np.unique(np.quantile(table[name], np.linspace(0, 1, _BINS + 1)[1:-1]))
            else:
                common = table[name].value_counts(sort=True).index
                self._labels[name] = {value: place for place, value in enumerate(common)}
        pairs = list(itertools.combinations(table.columns, 2))
        self._pairs = random.Random(0).sample(pairs, min(len(pairs), _MOST_PAIRS))  # noqa: S311  no secret
        self._wanted = self._shares(table)

    def distance(self, rows: pd.DataFrame) -> float:
        """From 0, where rows are as in the table, to 1."""
        shares = zip(self._wanted, self._shares(rows), strict=True)
        apart = [0.5 * float(np.abs(_padded(one, other) - _padded(other, one)).sum()) for one, other in shares]
        columns = len(self._labels) + len(self._edges)
        parts = [part for part in (apart[:columns], apart[columns:]) if part]
        return float(np.mean([np.mean(part) for part in parts]))

    def _shares(self, rows: pd.DataFrame) -> list[npt.NDArray[np.float64]]:
        codes = {name: self._codes(rows, name) for name in rows.columns}
        single = [np.bincount(each) for each in codes.values()]
        coarse = {name: np.minimum(each // self._step(name), _COARSE) for name, each in codes.items()}
        double = [np.bincount(coarse[one] * (_COARSE + 1) + coarse[other]) for one, other in self._pairs]
        return [each / len(rows) for each in (*single, *double)]

    def _codes(self, rows: pd.DataFrame, name: str) -> Codes:
        if name in self._edges:
            return np.asarray(np.searchsorted(self._edges[name], rows[name].to_numpy(np.float64), "right"), np.int64)
        known = self._labels[name]
        return rows[name].map(known).fillna(len(known)).to_numpy(np.int64)

    def _step(self, name: str) -> int:
        """How many bins of a number make a coarse one; of labels the commonest are told apart."""
        return math.ceil((len(self._edges[name]) + 1) / _COARSE) if name in self._edges else 1


def _padded(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.pad(one, (0, max(len(other) - len(one), 0)))


class Best:
    """The best state of a synthesizer's network so far.

    Args:
        synthesizer: SDV's; its network is there when training has begun.
        table: The table that it learns, processed.

    Attributes:
        epoch: After which one the best state was.
        distances: How far its rows were from the table's, by epoch.
    """

    def __init__(self, synthesizer: Any, table: pd.DataFrame) -> None:
        self._synthesizer, self._table = synthesizer, table
        self._rows = min(max(len(table), 500), _ROWS)
        self._state: dict[str, Any] = {}
        self._next = 1
        self.epoch = 0
        self.distances: dict[int, float] = {}

    def look(self, epoch: int, *, last: bool = False) -> None:
        """Compare, if it is time to, or training ends."""
        if epoch in self.distances or (epoch < self._next and not last):
            return
        self._next = math.ceil(epoch * _SLOWER)
        network = self._network()
        with _chance_of_its_own(), _as_it_was(network):
            distance = self._near.distance(self._synthesizer._model.sample(self._rows))  # noqa: SLF001
        if distance < min(self.distances.values(), default=math.inf):
            self.epoch = epoch
            self._state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        self.distances[epoch] = distance

    def restore(self) -> None:
        """Go back to the best state."""
        if self._state:
            self._network().load_state_dict(self._state)

    @functools.cached_property
    def _near(self) -> Nearness:
        """To what the network learns from: CopulaGAN makes numbers normal before it trains, and known when it does."""
        normal = getattr(self._synthesizer, "_gaussian_normalizer_hyper_transformer", None)
        return Nearness(normal.transform(self._table) if normal else self._table)

    def _network(self) -> Any:
        """The part that makes rows: a GAN's generator, an autoencoder's decoder."""
        model = self._synthesizer._model  # noqa: SLF001
        return model.decoder if hasattr(model, "decoder") else model._generator  # noqa: SLF001


@contextlib.contextmanager
def _chance_of_its_own() -> Iterator[None]:
    """The same draws at every look, and training goes on as if there had been none."""
    import torch

    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  what SDV draws from
    try:
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        torch.set_rng_state(kept[2])


@contextlib.contextmanager
def _as_it_was(network: Any) -> Iterator[None]:
    """Its mode, and what normalising layers remember."""
    import torch

    learning, buffers = network.training, [each.detach().clone() for each in network.buffers()]
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(learning)
        for buffer, value in zip(network.buffers(), buffers, strict=True):
            buffer.copy_(value)
