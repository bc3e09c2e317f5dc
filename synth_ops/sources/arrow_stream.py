"""Record batches of a bounded size, whose failures are ours and not the driver's."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa

from synth_ops.errors import SynthOpsError

MAX_ROWS = 65_536
MAX_BYTES = 16 * 2**20


def stream(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], failure: Callable[[Exception], SynthOpsError]
) -> pa.RecordBatchReader:
    """A reader over small batches joined into larger ones: up to `MAX_ROWS` rows or about `MAX_BYTES` bytes each.

    Args:
        failure: Makes the error to raise from a driver's, whose text may hold values and is dropped.
    """
    return pa.RecordBatchReader.from_batches(schema, _guarded(_joined(batches), failure))


def read_ahead(batches: Iterable[pa.RecordBatch], depth: int = 2) -> Iterator[pa.RecordBatch]:
    """The same batches, read by a thread of their own while the one before is worked on.

    Args:
        depth: How many may wait. The thread ends with the iterator, wherever this is left.
    """
    waiting: queue.Queue[pa.RecordBatch | BaseException | None] = queue.Queue(depth)
    left = threading.Event()

    def read() -> None:
        end: BaseException | None = None
        try:
            for batch in batches:
                waiting.put(batch)
                if left.is_set():
                    return
        except BaseException as error:  # noqa: BLE001  raised again where the batches are used
            end = error
        waiting.put(end)

    thread = threading.Thread(target=read, name="synth_ops read ahead", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        left.set()
        while thread.is_alive():
            try:
                waiting.get(timeout=0.05)  # it may wait for room
            except queue.Empty:
                continue


def _guarded(
    batches: Iterator[pa.RecordBatch], failure: Callable[[Exception], SynthOpsError]
) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except SynthOpsError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever a driver raises may hold a value
        raise failure(error) from None


def _joined(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= MAX_ROWS or size >= MAX_BYTES:
            yield _one(waiting)
            waiting, rows, size = [], 0, 0
    if rows:
        yield _one(waiting)


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
