"""The one protocol by which every file target publishes: build aside, flush, swap one name, remember what was live.

Beside the live name `x` stands the folder `.x.generations`:

- `lock`: held through `flock` by the one publisher; the kernel frees it when its holder dies.
- `stage/`: what is being built; whoever holds the lock may remove what he finds there.
- `000007`: a second name (a hard link, or a symbolic link where the live name is one) for a generation that is or was
  live. It is made just before the swap that takes the generation away, so a generation that was never live is in no
  history, and a crash at any point leaves a true one.
- `data-000007/`: where a generation is a folder, its files; one that neither the live name nor a second name leads to
  is garbage.

The swap is one `rename`. Which generation is live, and what it holds, is read from the publication row inside the live
data; no file beside it could contradict it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from synth_ops import sql
from synth_ops.artifacts import Generation, TableData
from synth_ops.errors import PublishRefusedError, TargetUnavailableError
from synth_ops.location import Location
from synth_ops.metadata import Metadata
from synth_ops.ports import Capability, ProgressListener
from synth_ops.targets.constraints import verify
from synth_ops.targets.publication import Published, Tick, ticks, tidying, worth_keeping

_LOCK_WAIT_S = 2.0
_MOST_LINKS = 40
_FIXED_TICKS = 5


class Medium(Protocol):
    """What a dialect adds to the protocol."""

    def read(self, path: Path) -> Published | None:
        """The publication row of what stands at a path; None when nothing of value stands there.

        Raises:
            PublishRefusedError: It is somebody else's.
            TargetUnavailableError: It can't be read now.
        """

    def build(
        self, path: Path, metadata: Metadata, tables: Mapping[str, TableData], published: Published, tick: Tick
    ) -> None:
        """Make, at a path in the stage, what will be renamed to the live name; it is on the disk on return.

        Raises:
            PublishError: The medium refuses the data.
            TargetUnavailableError: It can't be written now.
        """

    def at_rest(self, live: Path) -> AbstractContextManager[Published | None]:
        """Bring the live data to rest (nothing pending beside it) and keep writers away until the swap is done.

        Yields what `read` would return, without opening the file once more.

        Raises:
            TargetUnavailableError: Somebody writes to it.
        """


class FileTarget:
    """A target that is one file or folder: `ports.Target` for every medium.

    Args:
        location: Of a built-in file scheme.
        medium: How its data is read and built.
    """

    version = "1"
    capabilities: frozenset[Capability] = frozenset()

    def __init__(self, location: Location, medium: Medium) -> None:
        if location.path is None:
            raise PublishRefusedError(f"{location.label} is not a path", "write scheme:///path")
        self._label = location.label
        self._medium = medium
        self._live = _where_it_lies(location.path)
        self._folder = self._live.with_name(_folder_name(self._live))
        self._stage = self._folder / "stage"

    def publish(
        self,
        metadata: Metadata,
        tables: Mapping[str, TableData],
        *,
        copy_id: str,
        keep: int,
        progress: ProgressListener,
    ) -> Generation:
        """Build the copy aside, enforce its constraints, swap it in; see `ports.Target`."""
        tick = ticks(progress, len(tables) + _FIXED_TICKS)
        with self._publishing():
            live = self._medium.read(self._live)
            if live and live.copy == copy_id:
                return live.generation(live=True)
            with sql.connect() as reader:
                reader.execute(f"SET temp_directory = {sql.literal(str(self._stage / 'spill'))}")
                verify(reader, metadata, tables)
            tick("constraints verified")
            published = Published(
                number=max([live.number if live else 0, *self._history()]) + 1,
                copy=copy_id,
                published_at=datetime.now(UTC).isoformat(timespec="seconds"),
                previous=live.number if live else 0,
                tables={name: tables[name].rows for name in metadata.table_names},
            )
            candidate = self._stage / "data"
            self._medium.build(candidate, metadata, tables, published, tick)
            tick("staged")
            self._swap(candidate, live, tick)
            with tidying(self._label, OSError):
                self._forget_all_but(keep, published)
            tick("old generations removed")
        return published.generation(live=True)

    def rollback(self) -> Generation:
        """Go back to what was live before the live generation was published; see `ports.Target`."""
        with self._publishing():
            live = self._medium.read(self._live)
            if live is None:
                raise PublishRefusedError(f"{self._label} holds no generation", "publish to it first")
            entry = self._entry(live.previous)
            before = self._medium.read(entry) if live.previous else None
            if before is None:
                raise PublishRefusedError(
                    f"{self._label} keeps no generation before {live.number}", "publish another copy instead"
                )
            candidate = self._stage / "data"
            self._name_again(entry, candidate)
            self._swap(candidate, live, _unheard)
        return before.generation(live=True)

    def generations(self) -> Sequence[Generation]:
        """What the target remembers, oldest first; takes no lock and writes nothing."""
        with self._file_errors():
            live = self._medium.read(self._live)
            found = {live.number: live} if live else {}
            for number in self._history():
                known = number in found or self._medium.read(self._entry(number))
                if isinstance(known, Published):  # None: removed in this moment
                    found[number] = known
        live_number = live.number if live else 0
        return [found[number].generation(live=number == live_number) for number in sorted(found)]

    def _swap(self, candidate: Path, live: Published | None, tick: Tick) -> None:
        with self._medium.at_rest(self._live) as standing:
            if standing != live:
                raise TargetUnavailableError(f"{self._label} was replaced meanwhile", "publish again")
            if live:
                self._remember(live.number)
            tick("live generation remembered")
            if self._live.is_dir() and not self._live.is_symlink():
                self._live.rmdir()  # an empty folder: a link can't be renamed over it
            elif live and not self._live.is_symlink():
                shutil.copymode(self._live, candidate)
            candidate.replace(self._live)
            flush_to_disk(self._live.parent)
        tick("swapped")

    def _remember(self, number: int) -> None:
        entry = self._entry(number)
        if entry.exists() and entry.samefile(self._live):
            return
        aside = self._stage / "entry"
        self._name_again(self._live, aside)
        aside.replace(entry)
        flush_to_disk(self._folder)

    def _name_again(self, existing: Path, new: Path) -> None:
        """Give a generation one more name; a link is made relative to where the name will stand in the end."""
        if existing.is_symlink():
            content = Path(os.path.realpath(existing)).name
            new.symlink_to(content if existing == self._live else Path(self._folder.name) / content)
        else:
            os.link(existing, new)

    def _forget_all_but(self, keep: int, live: Published) -> None:
        """Keep the way back (each generation's predecessor), then the newest others."""
        history = self._history()
        if len({*history, live.number}) > keep:  # else all stay, and none has to be opened
            known = {number: self._medium.read(self._entry(number)) for number in history}
            for number in known.keys() - worth_keeping(keep, live, {n: each for n, each in known.items() if each}):
                self._entry(number).unlink()
        self._collect()

    def _history(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return sorted(int(entry.name) for entry in self._folder.iterdir() if entry.name.isdecimal())

    def _entry(self, number: int) -> Path:
        return self._folder / f"{number:06}"

    def _collect(self) -> None:
        """Remove what dead publishers left; only under the lock."""
        if self._stage.exists():
            shutil.rmtree(self._stage)
        names = [self._live, *map(self._entry, self._history())]
        alive = {os.path.realpath(name) for name in names}
        for content in self._folder.glob("data-*"):
            if os.path.realpath(content) not in alive:
                shutil.rmtree(content)

    @contextlib.contextmanager
    def _publishing(self) -> Iterator[None]:
        with self._file_errors():
            self._folder.mkdir(parents=True, exist_ok=True)
            with _locked(self._folder / "lock", self._label):
                self._collect()
                self._stage.mkdir()
                try:
                    yield
                finally:
                    with tidying(self._label, OSError):
                        self._collect()

    @contextlib.contextmanager
    def _file_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TargetUnavailableError(
                f"{self._label} can't be used: {error.strerror or type(error).__name__}",
                "free space or check permissions; what was live is live still",
            ) from None


def holds_bytes(path: Path) -> bool:
    """Whether a file that is not empty stands at a path."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def flush_to_disk(path: Path) -> None:
    """Return when a file's bytes, or a folder's names, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(path: Path, label: str) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TargetUnavailableError(
                        f"another run is publishing to {label}", "try again when it is done"
                    ) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _folder_name(live: Path) -> str:
    return f".{live.name}.generations"


def _where_it_lies(path: Path) -> Path:
    """Follow links that others made to where the target really is; our own live link stays."""
    for _ in range(_MOST_LINKS):
        path = path.parent.resolve() / path.name
        if not path.is_symlink() or path.readlink().parent.name == _folder_name(path):
            break
        path = path.parent / path.readlink()
    return path


def _unheard(item: str) -> None:
    """Nobody listens."""
