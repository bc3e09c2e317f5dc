"""Artifacts on any fsspec path: written aside, made visible at once, verified before anything is read.

Layout: `<root>/<kind>/<id>/manifest.json` beside the files that the manifest lists with their SHA-256. An artifact
exists when its manifest does, and the manifest is written last. The manifest is signed (HMAC-SHA256) with the key in
`SYNTH_OPS_STORE_KEY`, or else with one that the store makes for itself at first use, readable by its owner only.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import hmac
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth_ops import __version__
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.errors import (
    ArtifactError,
    ArtifactNotFoundError,
    ArtifactTamperedError,
    MissingExtraError,
    RecipeError,
)
from synth_ops.fingerprint import canonical_json, file_digests, fingerprint
from synth_ops.scratch import scratch_folder

if TYPE_CHECKING:
    from upath import UPath

MANIFEST = "manifest.json"
_KEY_FILE = ".key"
_DOWNLOAD = ".download"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An artifact as it was read back: verified.

    Attributes:
        body: What its step put into the manifest.
        path: A local folder that holds its files.
        created_at: ISO 8601, UTC.
        version: Of the package that wrote it.
        digests: The SHA-256 of every file that was asked for, by its name.
    """

    ref: ArtifactRef
    body: Mapping[str, Any]
    path: Path
    created_at: str
    version: str
    digests: Mapping[str, str]


class Store:
    """A folder of artifacts, on a local disk or any fsspec file system.

    Args:
        root: `/path`, `s3://bucket/prefix`, `memory://x`, ...

    Raises:
        ConfigError: Nothing that is installed knows the URL's protocol.
        ArtifactError: The folder can't be made or written.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        from upath import UPath

        self.root: UPath = _opened(root)
        self._local = Path(self.root.path).absolute() if self.root.protocol in ("", "file", "local") else None
        if self._local:
            self.root = UPath(self._local)  # the working directory may change
        self._cache: Path | None = None
        self._verified: set[ArtifactRef] = set()
        with self._errors():
            (self._local or self.root).mkdir(parents=True, exist_ok=True)
            self._key = self._load_key()

    @property
    def label(self) -> str:
        """Where it is, for messages."""
        return str(self._local or f"{self.root.protocol}://{self.root.path.lstrip('/')}")

    def exists(self, ref: ArtifactRef) -> bool:
        """Whether the artifact was written completely."""
        with self._errors():
            return bool((self.root / ref.kind.value / ref.id / MANIFEST).exists())

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A local folder to prepare an artifact in; removed afterwards. On the store's own disk where that is local."""
        with contextlib.ExitStack() as stack:
            with self._errors():
                folder = stack.enter_context(scratch_folder(self._local or Path(tempfile.gettempdir())))
            with self._errors(_NO_ROOM):
                yield folder

    def write(
        self,
        ref: ArtifactRef,
        body: Mapping[str, Any],
        folder: Path | None = None,
        digests: Mapping[Path, str] | None = None,
    ) -> None:
        """Make an artifact visible, all at once. One that is there already stays as it is.

        Args:
            ref: Its kind and id.
            body: JSON-like facts about it; never source values.
            folder: Its files, prepared in a `scratch` folder, which is consumed.
            digests: The SHA-256 of those files that are known already; they are not read again.
        """
        if self.exists(ref):
            return
        with self._errors(), contextlib.ExitStack() as stack:
            folder = folder or stack.enter_context(self.scratch())
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            known = {**(digests or {})}
            known.update(file_digests(path for path in files if path not in known))
            manifest = {
                "ref": ref.to_json(),
                "body": body,
                "files": {path.relative_to(folder).as_posix(): known[path] for path in files},
                "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "version": __version__,
            }
            text = json.dumps({**manifest, "signature": self._sign(manifest)}, indent=1, ensure_ascii=False)
            if self._local:
                self._write_local(self._local / ref.kind.value / ref.id, folder, text)
            else:
                self._write_remote(self.root / ref.kind.value / ref.id, folder, files, text)

    def read(self, ref: ArtifactRef, files: Collection[str] | None = None) -> Stored:
        """Read an artifact back, its signature and every file's digest checked first (once per process).

        Args:
            files: Those that are wanted, where it is not all of them: a worker fetches no others.

        Raises:
            ArtifactNotFoundError: There is none of that id.
            ArtifactTamperedError: Its bytes are not those that were written.
        """
        manifest = self._manifest(ref)
        with self._errors():
            wanted = {name: digest for name, digest in manifest["files"].items() if files is None or name in files}
            path = self._files_of(ref, wanted)
            if ref not in self._verified:
                self._verify_files(ref, path, wanted, known=manifest["files"])
                if files is None:
                    self._verified.add(ref)
        version = str(manifest.get("version", "unknown"))
        return Stored(
            ref=ref,
            body=manifest["body"],
            path=path,
            created_at=manifest["created_at"],
            version=version,
            digests=wanted,
        )

    def facts(self, ref: ArtifactRef) -> Mapping[str, Any]:
        """What the artifact's step put into its manifest, whose signature is checked; its files are not read.

        Raises:
            ArtifactNotFoundError: There is none of that id.
            ArtifactTamperedError: The manifest is not the one that was written.
        """
        body: Mapping[str, Any] = self._manifest(ref)["body"]
        return body

    def delete(self, ref: ArtifactRef) -> None:
        """Remove an artifact, its manifest first, so that half of one is none; one that is not there is no error."""
        place = self.root / ref.kind.value / ref.id
        with self._errors():
            if place.exists():
                (place / MANIFEST).unlink(missing_ok=True)
                place.fs.rm(place.path, recursive=True)
        if self._cache:
            shutil.rmtree(self._cache / ref.kind.value / ref.id, ignore_errors=True)
        self._verified.discard(ref)

    def _manifest(self, ref: ArtifactRef) -> dict[str, Any]:
        place = self.root / ref.kind.value / ref.id
        with self._errors():
            try:
                manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
            except FileNotFoundError:
                raise ArtifactNotFoundError(
                    f"the store has no {ref.kind} {ref.id}", f"run the {ref.kind} step first; the store is {self.label}"
                ) from None
            except ValueError:
                raise self._tampered(ref, "its manifest is not JSON") from None
            signature = manifest.pop("signature", "") if isinstance(manifest, dict) else ""
            if not self._signed(signature, manifest) or manifest["ref"] != ref.to_json():
                raise self._tampered(ref, "its manifest's signature does not match")
        return dict(manifest)

    def _files_of(self, ref: ArtifactRef, files: Mapping[str, str]) -> Path:
        if self._local:
            return self._local / ref.kind.value / ref.id
        return self._download(ref, self.root / ref.kind.value / ref.id, files)

    def remember(self, *key: object, ref: ArtifactRef) -> None:
        """Note that a step with these inputs made `ref` (for steps whose id follows from their output)."""
        self._note(self.root / "memo", fingerprint(*key), "ref", ref.to_json())

    def recall(self, *key: object) -> ArtifactRef | None:
        """What `remember` noted under the same key, if nobody changed the note and the artifact is still there."""
        noted = self._noted(self.root / "memo" / f"{fingerprint(*key)}.json", "ref")
        try:
            ref = ArtifactRef.from_json(noted) if noted else None
        except (ValueError, KeyError, TypeError):
            return None
        return ref if ref and self.exists(ref) else None

    def record(self, *key: object, name: str, entry: Mapping[str, Any], keep: int | None = None) -> None:
        """Put an entry into the log that has this key; one of the same name is replaced.

        Args:
            name: Orders the log; letters, digits and hyphens.
            entry: JSON-like facts; never source values.
            keep: How many entries the log keeps, the last ones by name; all of them when left out.
        """
        place = self.root / "log" / fingerprint(*key)
        self._note(place, name, "entry", dict(entry))
        with self._errors():
            for path in self._entries(place)[:-keep] if keep else ():
                path.unlink(missing_ok=True)

    def trim_log(self, keep: int) -> None:
        """Remove the logs that were written to longest ago; on object storage, a rule of the bucket's does that.

        Args:
            keep: How many of them stay.
        """
        place = self._local / "log" if self._local else None
        if place is None or not place.exists():
            return
        written = {each: each.stat().st_mtime for each in place.iterdir() if each.is_dir()}
        for each in sorted(written, key=lambda each: (-written[each], each.name))[keep:]:
            shutil.rmtree(each, ignore_errors=True)  # another run may be doing the same

    def recorded(self, *key: object, last: int) -> list[dict[str, Any]]:
        """The last entries of a log, by name; those that somebody changed are left out."""
        with self._errors():
            newest = self._entries(self.root / "log" / fingerprint(*key))[-last:]
        return [entry for path in newest if (entry := self._noted(path, "entry")) is not None]

    def _entries(self, place: UPath) -> list[UPath]:
        """The files of a log, by name."""
        found = [path for path in place.iterdir() if path.suffix == ".json"] if place.exists() else []
        return sorted((path for path in found if not path.name.startswith(".")), key=lambda path: path.name)

    def keyed_digest(self, text: str) -> str:
        """A digest of a text that tells nothing to those who lack the store's key."""
        return self._sign(["digest", text])[:16]

    def artifacts(self, kind: ArtifactKind) -> list[ArtifactRef]:
        """Every complete artifact of a kind, by id."""
        with self._errors():
            place = self.root / kind.value
            if not place.exists():
                return []
            refs = [
                ArtifactRef(kind=kind, id=entry.name) for entry in place.iterdir() if not entry.name.startswith(".")
            ]
        return sorted((ref for ref in refs if self.exists(ref)), key=lambda ref: ref.id)

    def _note(self, place: UPath, name: str, kind: str, document: Mapping[str, Any]) -> None:
        """Write a small signed file, all at once."""
        with self._errors():
            place.mkdir(parents=True, exist_ok=True)
            file = f"{name}.json"
            note = canonical_json({kind: document, "signature": self._sign([file, document])})
            if self._local is None:
                (place / file).write_text(note, encoding="utf-8")  # half a note is no note: its signature is missing
                return
            aside = place / f".{file}.{os.getpid()}.{secrets.token_hex(4)}"
            aside.write_text(note, encoding="utf-8")
            aside.replace(place / file)

    def _noted(self, path: UPath, kind: str) -> dict[str, Any] | None:
        """What `_note` wrote, if it is there and nobody changed it."""
        with self._errors():
            try:
                note = json.loads(path.read_text(encoding="utf-8"))
                document: dict[str, Any] = note[kind]
                ours = self._signed(note["signature"], [path.name, document])
            except (FileNotFoundError, ValueError, KeyError, TypeError):
                return None
        return document if ours else None

    def _sign(self, manifest: object) -> str:
        return hmac.new(self._key, canonical_json(manifest).encode(), "sha256").hexdigest()

    def _signed(self, signature: object, document: object) -> bool:
        return hmac.compare_digest(str(signature).encode(), self._sign(document).encode())

    def _tampered(self, ref: ArtifactRef, what: str) -> ArtifactTamperedError:
        return ArtifactTamperedError(
            f"{ref.kind} {ref.id} was changed after it was written: {what}",
            f"delete {self.label}/{ref.kind.value}/{ref.id} and run again, or set its SYNTH_OPS_STORE_KEY",
        )

    def _verify_files(self, ref: ArtifactRef, path: Path, files: Mapping[str, str], *, known: Collection[str]) -> None:
        for file in path.rglob("*"):
            name = file.relative_to(path).as_posix()
            if file.is_file() and name not in known and name != MANIFEST:
                raise self._tampered(ref, f"file {name!r} is not one of its own")
        for name in files:
            if not (path / name).is_file():
                raise self._tampered(ref, f"file {name!r} is missing")
        found = file_digests(path / name for name in files)
        for name, digest in files.items():
            if found[path / name] != digest:
                raise self._tampered(ref, f"the bytes of {name!r} differ")

    def _write_local(self, place: Path, folder: Path, manifest: str) -> None:
        (folder / MANIFEST).write_text(manifest, encoding="utf-8")
        for path in (folder, *folder.rglob("*")):
            _flush_to_disk(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(place)
        except OSError:
            if (place / MANIFEST).exists():
                return  # another run finished the same artifact first: same id, same content
            shutil.rmtree(place)  # somebody took its manifest away
            folder.rename(place)
        _flush_to_disk(place.parent)

    def _write_remote(self, place: UPath, folder: Path, files: list[Path], manifest: str) -> None:
        place.mkdir(parents=True, exist_ok=True)
        for path in files:
            destination = place / path.relative_to(folder).as_posix()
            destination.parent.mkdir(parents=True, exist_ok=True)
            place.fs.put_file(str(path), destination.path)
        (place / MANIFEST).write_text(manifest, encoding="utf-8")

    def _download(self, ref: ArtifactRef, place: UPath, files: Mapping[str, str]) -> Path:
        if self._cache is None:
            self._cache = Path(tempfile.mkdtemp(prefix="synth-ops-store-"))
            atexit.register(shutil.rmtree, self._cache, ignore_errors=True)
        path = self._cache / ref.kind.value / ref.id
        path.mkdir(parents=True, exist_ok=True)
        for name in files:
            if not (path / name).exists():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                place.fs.get_file((place / name).path, str(path / _DOWNLOAD))
                (path / _DOWNLOAD).rename(path / name)
        return path

    def _load_key(self) -> bytes:
        given = os.environ.get("SYNTH_OPS_STORE_KEY")
        if given:
            return given.encode()
        file = self.root / _KEY_FILE
        if not file.exists():
            key = secrets.token_hex(32)
            if self._local:
                _write_once(self._local / _KEY_FILE, key)
            else:
                file.write_text(key, encoding="utf-8")
        stored = file.read_text(encoding="utf-8").strip()
        if not stored:
            raise ArtifactError(f"the key of the store {self.label} is empty", f"delete {self.label}/{_KEY_FILE}")
        return stored.encode()

    @contextlib.contextmanager
    def _errors(self, only: frozenset[int] = frozenset()) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if only and error.errno not in only:
                raise
            reason = error.strerror or type(error).__name__
            raise ArtifactError(
                f"the store {self.label} can't be used: {reason}",
                "choose another with --store or SYNTH_OPS_STORE, or free space and check permissions",
            ) from error


def _opened(root: str | os.PathLike[str]) -> UPath:
    """The path, with the file system behind it."""
    from upath import UPath

    protocol = str(root).partition(":")[0]
    try:
        path = UPath(root)
        _ = path.fs  # made at the first use
    except ImportError as error:
        package = getattr(error.__cause__ or error, "name", None) or f"fsspec's package for {protocol}"
        raise MissingExtraError(
            f"a store at {protocol}:// needs a package that is not installed", f"install {package}"
        ) from None
    except ValueError:
        raise RecipeError(
            f"unknown store protocol {protocol!r}",
            "give a folder, or a URL that fsspec knows, such as s3://bucket/path",
        ) from None
    return path


def _write_once(path: Path, text: str) -> None:
    """Create a private file with its content at once; one that exists stays."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    with contextlib.suppress(FileExistsError):
        os.link(aside, path)
    aside.unlink()


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
