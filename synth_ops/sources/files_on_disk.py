"""What is wrong with a file before any driver opens it, and a digest of what it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from synth_ops.errors import SourceError
from synth_ops.fingerprint import canonical_json, file_digest
from synth_ops.location import Location

CHECK_THE_PATH = "check the path; relative paths start at the recipe's folder"


def way_out_when_missing(location: Location) -> str:
    """What to do where a location holds nothing."""
    if location.may_be_absolute:
        return f"write four slashes for an absolute path, {location.scheme}:////path: three mean a relative one"
    return CHECK_THE_PATH


def path_of(location: Location) -> Path:
    """The path of a file location.

    Raises:
        SourceError: It has none.
    """
    if location.path is None:
        raise SourceError(f"{location.label} names no file", f"write {location.scheme}:///path")
    return location.path


def require_file(path: Path, label: str, way_out: str = CHECK_THE_PATH) -> None:
    """Make sure that a database file is there, is a file, can be read and is not empty.

    Args:
        way_out: What to do where it is not there.

    Raises:
        SourceError: It is not so.
    """
    if path.is_dir():
        raise SourceError(f"{label} is a folder, not a database file", "give the file, or parquet:///folder")
    if _size(path, label, way_out) == 0:
        raise SourceError(f"{label} is empty (0 bytes)", "check how the file was copied; an empty file is no database")


def require_folder(path: Path, label: str, way_out: str = CHECK_THE_PATH) -> None:
    """Make sure that a folder is there.

    Args:
        way_out: What to do where it is not.

    Raises:
        SourceError: It is not, or it is a file.
    """
    if path.is_file():
        raise SourceError(f"{label} is a file, not a folder", "give the folder that it lies in")
    if not path.is_dir():
        raise SourceError(f"there is no folder {label}", way_out)


def digest(files: Iterable[tuple[str, Path]], label: str) -> str:
    """A SHA-256 over names and contents; files that are missing or empty count as absent.

    Must not run while a session is open in this process: closing a file drops the process's locks on it.

    Raises:
        SourceError: A file can't be read.
    """
    try:
        found = [(name, file_digest(path)) for name, path in files if path.is_file() and path.stat().st_size]
    except OSError as error:
        raise unreadable(label, error) from None
    return hashlib.sha256(canonical_json(found).encode()).hexdigest()


def unreadable(label: str, error: OSError, way_out: str = CHECK_THE_PATH) -> SourceError:
    """The operating system's refusal, in our words."""
    if isinstance(error, FileNotFoundError):
        return SourceError(f"there is no file {label}", way_out)
    return SourceError(f"{label} can't be read: {error.strerror or type(error).__name__}", "check its permissions")


def _size(path: Path, label: str, way_out: str) -> int:
    try:
        with path.open("rb") as stream:
            return stream.seek(0, 2)
    except OSError as error:
        raise unreadable(label, error, way_out) from None
