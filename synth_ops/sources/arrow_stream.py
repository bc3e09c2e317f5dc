"""Record batches that are read ahead, and whose failures are ours and not the driver's."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from synth_ops.errors import SynthOpsError

_Part: TypeAlias = Generator[pa.RecordBatch, None, None]
_Item: TypeAlias = pa.RecordBatch | BaseException | None
"""A batch, why there is none, or the end of a part."""


def stream(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], failure: Callable[[Exception], SynthOpsError]
) -> pa.RecordBatchReader:
    """A reader over batches as they come; who needs larger ones puts them together.

    Args:
        failure: Makes the error to raise from a driver's, whose text may hold values and is dropped.
    """
    return pa.RecordBatchReader.from_batches(schema, _guarded(batches, failure))


def read_ahead(
    parts: Sequence[_Part], *, threads: int = 1, depth: int = 2, join: Callable[[], bool] | None = None
) -> Iterator[pa.RecordBatch]:
    """The batches of all parts, in order, read by threads while those before are worked on.

    Args:
        parts: Each is read by one thread, from its first batch to its last.
        threads: How many there are. They end with the iterator, wherever this is left.
        depth: How many batches of a part may wait, of as many parts as there are threads.
        join: What each thread but the first does before it takes a part; one that gets False reads none.
    """
    reading = _Reading(parts, threads, depth, join or _at_once)
    try:
        yield from reading.batches()
    finally:
        reading.end()


class _Reading:
    """Threads that take parts in turns, and a queue of batches for each part that one of them has taken."""

    def __init__(self, parts: Sequence[_Part], threads: int, depth: int, join: Callable[[], bool]) -> None:
        self._parts = iter(parts)
        self._depth = depth
        self._taken: queue.Queue[queue.Queue[_Item] | None] = queue.Queue(threads)
        self._turn = threading.Lock()
        self._left = threading.Event()
        self._threads = [
            threading.Thread(target=self._read, args=(each,), name="synth_ops read ahead", daemon=True)
            for each in (_at_once, *[join] * (threads - 1))
        ]
        for thread in self._threads:
            thread.start()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """In the order of the parts, and within them."""
        while (waiting := self._taken.get()) is not None:
            while (item := waiting.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item

    def end(self) -> None:
        """Have the threads stop at their next batch, and wait for that."""
        self._left.set()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.05)

    def _read(self, join: Callable[[], bool]) -> None:
        while join() and (taken := self._take()) is not None:
            join = _at_once
            part, waiting = taken
            end: BaseException | None = None
            try:
                with contextlib.closing(part):
                    for batch in part:
                        if not self._put(waiting, batch):
                            return
            except BaseException as error:  # noqa: BLE001  raised again where the batches are used
                end = error
            self._put(waiting, end)

    def _take(self) -> tuple[_Part, queue.Queue[_Item]] | None:
        """The next part, whose place in the order is settled before anybody takes another one."""
        with self._turn:
            part = next(self._parts, None)
            waiting: queue.Queue[_Item] | None = queue.Queue(self._depth) if part is not None else None
            return (part, waiting) if self._put(self._taken, waiting) and part is not None and waiting else None

    def _put(self, place: queue.Queue[Any], item: object) -> bool:
        """Wait for room; False where nobody wants it any more."""
        while not self._left.is_set():
            try:
                place.put(item, timeout=0.05)
            except queue.Full:
                continue
            return True
        return False


def _at_once() -> bool:
    """Nothing is to be done before."""
    return True


def _guarded(
    batches: Iterable[pa.RecordBatch], failure: Callable[[Exception], SynthOpsError]
) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except SynthOpsError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever a driver raises may hold a value
        raise failure(error) from None
