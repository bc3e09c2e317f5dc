"""Record batches of a bounded size, whose failures are ours and not the driver's."""

from __future__ import annotations

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
            yield pa.concat_batches(waiting)
            waiting, rows, size = [], 0, 0
    if rows:
        yield pa.concat_batches(waiting)
