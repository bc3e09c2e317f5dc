"""How many processors this process may use."""

from __future__ import annotations

import os


def usable_processors() -> int:
    """Those that the process is allowed to run on, where the system tells; else all there are."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
