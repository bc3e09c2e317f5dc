"""PAR, the sequence model of SDV's DeepEcho (Zhang, Patki and Veeramachaneni, 2022): rows that follow each other.

It learns some sequences of some length from their codes, and draws as many as are asked for, all of one length, side by
side: a sequence's rows depend on those before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synth_ops import pickles
from synth_ops.artifacts import Snapshot, TableData
from synth_ops.errors import FitError, SampleError
from synth_ops.generators.coded_table.learning import Lesson, begin, write_drawn
from synth_ops.generators.coded_table.problems import refuse, sequence_problems
from synth_ops.generators.coded_table.settings import Training
from synth_ops.generators.coded_table.table import Providers, TableModel, values_of
from synth_ops.generators.relational_trees.references import Rows
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.generators.sdv.single import MODEL_FILE, quietly
from synth_ops.generators.sdv.training import History, fix_chance, watched
from synth_ops.metadata import Kind, Metadata, Table
from synth_ops.ports import ProgressListener
from synth_ops.sql import K_SUBJECTS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_SHAPE_FILE = "sequences.json"
_LONGEST = 100
_KEPT = 0.75
"""The share of rows that pieces of sequences must hold."""
_BATCH = 2_000


def fit(
    training: Training, most: int, cuda: bool, snapshot: Snapshot, folder: Path, progress: ProgressListener
) -> None:
    """Learn the sequences of a table, and write codecs as JSON and the model as a pickle.

    Args:
        most: Of so many sequences at most, drawn at random, the first hundred rows of each.

    Raises:
        FitError: The table has no sequences, or they can't be learned.
    """
    deadline = training.deadline()
    refuse(sequence_problems(snapshot.metadata))
    fix_chance(0)
    lesson = begin(snapshot, folder, progress)
    table = lesson.table
    numbers = _numbers(snapshot, table)
    rows = _sequences(numbers, most)
    # the length that some reach: that of the longest one would tell of it
    length = sorted(map(len, rows), reverse=True)[min(K_SUBJECTS, len(rows)) - 1] if rows else 1
    shape = {"sequences": len(np.unique(numbers)), "length": length}
    (folder / _SHAPE_FILE).write_text(json.dumps(shape), encoding="utf-8")
    if lesson.empty:
        return
    lesson.tell("model", 0)
    with quietly(FitError, f"SDV's PAR can't learn table {table.name!r}"):
        network, history = _train(lesson, pieces(rows), training, cuda, deadline)
        history.save(folder, table.name)
        pickles.dump(network, folder / MODEL_FILE)


def _train(lesson: Lesson, rows: list[Rows], training: Training, cuda: bool, deadline: float) -> tuple[Any, History]:
    from deepecho.models.par import PARModel

    network, history = PARModel(epochs=training.epochs, cuda=cuda, verbose=False), History(planned=training.epochs)

    def losses() -> dict[str, float]:
        return {"loss": float(network.loss_values["Loss"].iloc[-1])}

    def told(done: int, total: int, last: Mapping[str, float]) -> None:
        history.note(done, last)
        lesson.tell(f"epoch {done} of {total}, loss {last['loss']:.3g}", done / total)

    frame = lesson.frame
    kinds = ["categorical" if name in lesson.seen.labels else "continuous" for name in frame.columns]
    columns = [frame[name].to_numpy() for name in frame.columns]
    sequences = [{"context": [], "data": [column[each].tolist() for column in columns]} for each in rows]
    with watched(losses, told, deadline=deadline):
        network.fit_sequences(sequences, [], kinds)
    network._min_length = network._max_length = 0  # noqa: SLF001  those of single sequences
    network._model.to("cpu")  # noqa: SLF001  it is drawn from wherever it is loaded
    network.device, network.column_names = "cpu", list(frame.columns)
    return network, history


def _numbers(snapshot: Snapshot, table: Table) -> Rows:
    """The sequence of every row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (name,) = (column.name for column in table.columns if column.kind is Kind.ID)
    files = snapshot.tables[table.name].files
    column = pa.concat_tables([pq.read_table(file, columns=[name]) for file in files]).column(0)
    return np.asarray(column.combine_chunks().dictionary_encode().indices, np.int64)


def _sequences(numbers: Rows, most: int) -> list[Rows]:
    """The first rows of some sequences, in the order in which they stand."""
    order = np.argsort(numbers, kind="stable")
    every = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1) if len(order) else []
    chosen = np.sort(stream(0, "par").permutation(len(every))[:most])
    return [every[number][:_LONGEST] for number in chosen]


def pieces(sequences: Sequence[Rows]) -> list[Rows]:
    """Sequences cut into pieces of one length, the longest one that keeps enough of their rows.

    DeepEcho (0.8) compares the numbers of a sequence with the last rows of the longest one, so it learns little of
    shorter ones.

    >>> [piece.tolist() for piece in pieces([np.arange(5), np.arange(5, 7), np.arange(7, 10)])]
    [[0, 1], [2, 3], [5, 6], [7, 8]]
    """
    lengths = np.array([len(each) for each in sequences])
    wanted = _KEPT * lengths.sum()
    length = max(each for each in range(1, int(lengths.max()) + 1) if (lengths // each * each).sum() >= wanted)
    return [each[start : start + length] for each in sequences for start in range(0, len(each) - length + 1, length)]


class FittedSequences:
    """A fitted model of sequences."""

    def __init__(self, folder: Path, metadata: Metadata) -> None:
        self._folder, self._table = folder, metadata.tables[0]

    def sample(self, folder: Path, *, seed: int, scale: float, progress: ProgressListener) -> Mapping[str, TableData]:
        """Write sequences of one length, one after the other; the same seed gives the same bytes."""
        name, model = self._table.name, TableModel.load(self._folder)
        shape = json.loads((self._folder / _SHAPE_FILE).read_text(encoding="utf-8"))
        count, length = round(shape["sequences"] * scale), shape["length"]
        network = pickles.load(self._folder / MODEL_FILE) if (self._folder / MODEL_FILE).exists() else None
        providers = Providers(model, self._table, seed, count * length)

        def made() -> Iterator[pa.Table]:
            import pyarrow as pa

            for batch, first in enumerate(range(0, count, _BATCH)):
                size = min(_BATCH, count - first)
                fix_chance(int(stream(seed, "par rows", name, batch).integers(0, 2**31)))
                drawn = draw(network, size, length)
                key = stream(seed, "par", name, batch)
                values = values_of(drawn, providers, first * length, size * length, key)
                yield pa.table([values[each] for each in model.schema.names], schema=model.schema)

        with quietly(SampleError, f"SDV's PAR can't draw table {name!r}"):
            return write_drawn(folder, name, model, made(), count * length, progress)


def draw(network: Any, count: int, length: int) -> pd.DataFrame:
    """Sequences of a network, drawn side by side, row by row; then laid one after the other.

    DeepEcho's own way draws one sequence at a time, and reads all of it again for each row.
    """
    import pandas as pd
    import torch

    if network is None:
        return pd.DataFrame(index=range(count * length))
    kinds = network._data_map  # noqa: SLF001  what stands where in a row
    net, token = network._model.eval(), kinds["<TOKEN>"]["indices"]  # noqa: SLF001
    row, state, rows = torch.zeros(1, count, network._data_dims), None, []  # noqa: SLF001
    row[..., token["<START>"]] = 1.0
    with torch.no_grad():
        for _ in range(length):
            told, state = net.rnn(net.down(row), state)
            row = _next_row(net.up(told), kinds)
            rows.append(row[0])
    whole = torch.stack(rows, dim=1).reshape(count * length, -1).numpy()
    return pd.DataFrame({place: _column(whole, kind) for place, kind in kinds.items() if place != "<TOKEN>"}).rename(
        columns=dict(enumerate(network.column_names))
    )


def _next_row(told: Any, kinds: Mapping[Any, Any]) -> Any:
    """The next rows, drawn from what the network says of them."""
    import torch

    row = torch.zeros_like(told)
    row[..., kinds["<TOKEN>"]["indices"]["<BODY>"]] = 1.0
    for place, kind in kinds.items():
        if place == "<TOKEN>":
            continue
        if kind["type"] == "categorical":
            places = list(kind["indices"].values())
            chosen = torch.multinomial(torch.softmax(told[0, :, places], dim=1), 1)[:, 0]
            row[0, torch.arange(len(chosen)), torch.tensor(places)[chosen]] = 1.0
        else:
            middle, spread, _ = kind["indices"]
            row[..., middle] = torch.normal(told[..., middle], torch.nn.functional.softplus(told[..., spread]))
    return row


def _column(rows: npt.NDArray[Any], kind: Mapping[str, Any]) -> npt.NDArray[Any]:
    if kind["type"] == "categorical":
        values = np.array(list(kind["indices"]), object)
        return np.asarray(values[np.argmax(rows[:, list(kind["indices"].values())], axis=1)])
    return np.asarray(rows[:, kind["indices"][0]] * kind["std"] + kind["mu"])
