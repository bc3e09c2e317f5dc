"""Compiled loops: numba, with its cache on disk where there is a place for one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import config, njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call, without the interpreter's lock.

    The machine code is cached beside the package or in the user's cache folder; one that is new, as that of a
    generator's own process, begins with what is beside the package. Where neither may be written, as in some
    containers, it is compiled anew in every process.
    """
    if config.DISABLE_JIT:  # type: ignore[attr-defined]  # whoever looks for a mistake compiles nothing
        return function
    try:
        made = njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)
    source = Path(function.__code__.co_filename)
    beside = source.parent / "__pycache__"
    place = Path(made.stats.cache_path or beside)
    if place != beside:
        with contextlib.suppress(OSError):  # then it is compiled anew
            for file in beside.glob(f"{source.stem}.{function.__name__}-*.nb?"):
                if not (place / file.name).exists():
                    aside = place / f"{file.name}.{os.getpid()}"
                    shutil.copyfile(file, aside)
                    aside.replace(place / file.name)
    return made
