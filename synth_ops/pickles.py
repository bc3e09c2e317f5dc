"""Pickles, for models of packages that know nothing else: loading one runs code, so only a vouched-for one is loaded.

Whoever has checked a file's digest against a signed manifest vouches for it here; `load` takes the digest of the very
bytes that it is about to load, and happens in worker processes alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from synth_ops.errors import ArtifactTamperedError

_vouched: set[str] = set()
_allowed: list[bool] = []


def vouch(digests: Iterable[str]) -> None:
    """Say that files with these SHA-256 digests were written by us."""
    _vouched.update(digests)


def vouched() -> list[str]:
    """What this process vouches for, to be handed to a worker."""
    return sorted(_vouched)


def allow_here() -> None:
    """Say that this process is one that may run what a pickle holds: a worker."""
    _allowed.append(True)


def dump(value: object, file: Path) -> None:
    """Write a pickle that this process may load again."""
    import cloudpickle

    data = cloudpickle.dumps(value)
    vouch([hashlib.sha256(data).hexdigest()])
    file.write_bytes(data)


def verified(file: Path) -> bytes:
    """The bytes of a file that was vouched for.

    Raises:
        ArtifactTamperedError: It was not.
    """
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() not in _vouched:
        raise ArtifactTamperedError(
            f"{file.name} of the model is not what was stored", "fit again; a model is loaded from its own store alone"
        )
    return data


def load(file: Path) -> Any:
    """Read a pickle, in a worker, if it is one that was vouched for.

    Raises:
        ArtifactTamperedError: It is not, or this is no worker; nothing of it was loaded then.
    """
    data = verified(file)
    if not _allowed:
        raise ArtifactTamperedError(
            f"{file.name} of the model is a pickle, which is loaded in a process of its own only",
            "open the generator with `synth_ops.worker.open_generator`",
        )
    import cloudpickle

    return cloudpickle.loads(data)
