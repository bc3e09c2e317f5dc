"""Folders to prepare something in, that vanish with the process that made them, however it ends.

Beside the folder `.scratch-x` stands the file `.scratch-x.lock`, locked by its owner. The kernel frees the lock when
the process dies, so the next one that needs a folder here knows which are abandoned; process ids would not tell,
since a disk may be shared by containers.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

_PREFIX = ".scratch-"
_LOCK = ".lock"


@contextlib.contextmanager
def scratch_folder(place: Path) -> Iterator[Path]:
    """Make a private folder below `place`, removed in the end if it is still there; abandoned ones go first.

    Raises:
        OSError: It can't be made.
    """
    _remove_abandoned(place)
    lock, descriptor = _claim(place)
    folder = lock.with_suffix("")
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        _remove(lock)
        os.close(descriptor)


def _claim(place: Path) -> tuple[Path, int]:
    while True:
        lock = place / f"{_PREFIX}{secrets.token_hex(8)}{_LOCK}"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if lock.exists():
            return lock, descriptor
        os.close(descriptor)  # taken for an abandoned one before it was locked


def _remove_abandoned(place: Path) -> None:
    for lock in place.glob(f"{_PREFIX}*{_LOCK}"):
        try:
            descriptor = os.open(lock, os.O_RDWR)
        except FileNotFoundError:
            continue  # its owner is done with it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its owner is at work
        else:
            _remove(lock)
        finally:
            os.close(descriptor)


def _remove(lock: Path) -> None:
    shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
    lock.unlink(missing_ok=True)
