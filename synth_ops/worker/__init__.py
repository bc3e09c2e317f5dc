"""Generators in processes of their own: heavy packages, pickled models, and what dies, hangs or prints at night.

`isolated` is the generator that the rest of the house sees; `process` starts, feeds, watches and ends a worker;
`__main__` is the worker; `confine` is what it can't do.
"""

from __future__ import annotations

from synth_ops.worker.isolated import Isolated, open_generator

__all__ = ["Isolated", "open_generator"]
