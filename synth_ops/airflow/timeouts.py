"""What ends a task's time, raised as Ctrl-C is: at that, drivers cancel what servers do, and steps clean up."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def timeout_as_interrupt() -> Iterator[None]:
    """Let Airflow's `execution_timeout` interrupt the work within, and leave as what Airflow knows it by."""
    theirs = signal.getsignal(signal.SIGALRM)
    if not callable(theirs) or threading.current_thread() is not threading.main_thread():
        yield
        return
    over: list[BaseException] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        try:
            theirs(number, frame)
        except BaseException as timeout:  # noqa: BLE001  raised again when the work has ended
            over.append(timeout)
            raise KeyboardInterrupt from None

    signal.signal(signal.SIGALRM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        if over:
            raise over[0] from None
        raise
    finally:
        signal.signal(signal.SIGALRM, theirs)
