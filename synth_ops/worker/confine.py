"""What a worker can't do: read credentials from its environment, write outside its folder, talk to a server."""

from __future__ import annotations

import contextlib
import ctypes
import os
import site
from collections.abc import Mapping
from pathlib import Path

_KEPT = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS")
_KEPT_STARTS = ("LC_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "OPENBLAS_", "NUMBA_NUM_", "SYNTH_OPS_THREADS")
_CREATE, _ADD_RULE, _RESTRICT, _NO_NEW_PRIVILEGES = 444, 445, 446, 38
_WRITES = 0x1FF2
"""Write a file; remove, or make, files and folders of all sorts."""
_WRITES_SINCE = {2: 0x2000, 3: 0x4000}
"""Move between folders, and cut files off, from these versions of the interface on."""
_TCP, _SCOPES = 0x3, 0x3
_TCP_SINCE, _SCOPES_SINCE = 4, 6


def scrubbed(environment: Mapping[str, str], area: Path) -> dict[str, str]:
    """What a worker needs of an environment: no credential, no address, and folders of its own to write to."""
    kept = {name: value for name, value in environment.items() if name in _KEPT or name.startswith(_KEPT_STARTS)}
    return {
        **kept,
        "HOME": str(area),
        "TMPDIR": str(area),
        "PYTHONUSERBASE": site.getuserbase() or "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def first_to_go() -> None:
    """Where memory runs out, the kernel ends this process, and not the orchestrator that started it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def write_only_below(area: Path) -> bool:
    """Forbid this process, for good, to write elsewhere, to use TCP, and to signal others (Linux's Landlock).

    Call it before a thread is started: it holds for this one and what it starts.

    Returns:
        Whether the kernel knows how to.
    """
    call = ctypes.CDLL(None, use_errno=True).syscall
    version = call(_CREATE, None, 0, 1)
    if version < 1:
        return False
    writes = _WRITES | sum(bits for since, bits in _WRITES_SINCE.items() if version >= since)
    handled = [writes, *([_TCP] if version >= _TCP_SINCE else []), *([_SCOPES] if version >= _SCOPES_SINCE else [])]
    attributes = (ctypes.c_uint64 * len(handled))(*handled)
    rules = call(_CREATE, attributes, ctypes.sizeof(attributes), 0)
    if rules < 0:
        return False
    for place in (area, Path("/dev")):
        _allow(call, rules, place, writes)
    done = ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 and call(_RESTRICT, rules, 0) == 0
    os.close(rules)
    return bool(done)


class _Beneath(ctypes.Structure):
    """A rule's place, as the kernel lays it out."""

    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("folder", ctypes.c_int32))


def _allow(call: ctypes._NamedFuncPointer, rules: int, place: Path, writes: int) -> None:
    folder = os.open(place, os.O_PATH | os.O_CLOEXEC)
    call(_ADD_RULE, rules, 1, ctypes.byref(_Beneath(writes, folder)), 0)
    os.close(folder)
