"""Counter-based randomness: every purpose has a stream of its own, whatever was drawn before."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """An independent generator for one purpose, such as `(table, column)`.

    Philox, a counter-based generator (Salmon et al., SC 2011), keyed by a digest of the seed and the purpose.
    """
    text = "\x1f".join(str(part) for part in (seed, *purpose))
    key = np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
