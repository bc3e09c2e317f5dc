"""Stable ids from inputs, settings and plug-in versions."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from synth_ops.processors import usable_processors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ID_LENGTH = 20


def canonical_json(value: object) -> str:
    """Text that is the same for equal values, whatever the order of keys.

    >>> canonical_json({"b": 1, "a": (1, 2)})
    '{"a":[1,2],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(*parts: object) -> str:
    """An id of 20 hex digits (80 bits) for JSON-like parts.

    >>> fingerprint("fit", {"seed": 0}) == fingerprint("fit", {"seed": 0})
    True
    """
    return hashlib.sha256(canonical_json(list(parts)).encode()).hexdigest()[:ID_LENGTH]


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_digests(paths: Iterable[Path]) -> dict[Path, str]:
    """The SHA-256 of many files' bytes, read by as many threads as there are processors."""
    files = list(paths)
    with ThreadPoolExecutor(usable_processors()) as threads:
        return dict(zip(files, threads.map(file_digest, files), strict=True))
