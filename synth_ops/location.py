"""Where a source or target is: URLs and plain paths, read once and compared as the file system sees them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from synth_ops.errors import RecipeError
from synth_ops.server_url import parse_server_url, plugin_of

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SUFFIXES = {
    ".duckdb": "duckdb",
    ".ddb": "duckdb",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
}
_CSV_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
_FILE_SCHEMES = ("duckdb", "sqlite", "parquet", "csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """One source or target.

    Attributes:
        scheme: The plug-in's name: `duckdb`, `sqlite`, `parquet`, `csv`, `postgresql`, `mysql`, or another one's.
        path: For the built-in file schemes: the absolute path. None otherwise.
        url: What the user wrote, variables resolved: it may hold a secret, so it is never shown (see `label`).
        label: What may be shown, and written into a recipe: no user, password or query, and variables by their names.
    """

    scheme: str
    path: Path | None
    url: str
    label: str

    def __repr__(self) -> str:
        return f"Location({self.label})"

    @property
    def identity(self) -> str:
        """Where it is, to tell places apart by: it may hold what a variable stands for, so it is never shown."""
        if self.path:
            return f"{self.scheme}://{self.path}"
        server = parse_server_url(self.url)
        return server.identity if server else _without_secrets(self.url)

    @property
    def may_be_absolute(self) -> bool:
        """Whether a URL with three slashes, which is relative, would have been there with four."""
        _, _, rest = self.url.partition(":///")
        return bool(rest) and not rest.startswith("/") and os.path.exists(f"/{rest.partition('?')[0]}")  # noqa: PTH110  a name that is too long is none

    @property
    def places(self) -> frozenset[str]:
        """Every name by which the file system knows the file: its real path, and its inode when it exists."""
        if self.path is None:
            return frozenset({f"url:{self.identity}"})
        names = {f"path:{os.path.realpath(self.path)}"}
        if self.path.exists():
            status = self.path.stat()
            names.add(f"inode:{status.st_dev}:{status.st_ino}")
        return frozenset(names)


def resolve_variables(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Replace `${NAME}` by the environment's values.

    Raises:
        RecipeError: Naming every variable that is not set.
    """
    missing = sorted({name for name in _VARIABLE.findall(text) if name not in environment})
    if missing:
        raise RecipeError(f"environment variables not set: {', '.join(missing)}", "export them, or change the recipe")
    return _VARIABLE.sub(lambda match: environment[match[1]], text)


def parse_location(text: str, base: Path) -> Location:
    """Read a URL or a plain path.

    Args:
        text: `duckdb:///relative.duckdb`, `duckdb:////absolute.duckdb`, `parquet:///folder`, the URL of a server
            (`postgresql://user@host/database`, as libpq takes it), or a plain path, whose scheme follows from its
            suffix, its first bytes or its contents.
        base: The folder that relative paths start from.

    Raises:
        RecipeError: The scheme can't be told, or the URL is malformed.
    """
    resolved = resolve_variables(text).strip()
    if not resolved or "\0" in resolved:
        raise RecipeError(
            "a source or target is empty, or no path", "write a URL such as duckdb:///file.duckdb, or a path"
        )
    scheme, separator, rest = resolved.partition("://")
    if not separator:
        _refuse_scheme_without_slashes(resolved)
        path = _absolute(base, resolved)
        return _file_location(_guess_scheme(path, text), path, resolved, text)
    scheme = scheme.lower()
    plugin = plugin_of(scheme)
    if plugin not in _FILE_SCHEMES:
        shown = _server_label(resolved)
        label = _server_label_of_variables(f"{plugin}://", text, resolved) or shown
        return Location(scheme=plugin, path=None, url=resolved, label=label)
    if not rest.startswith("/"):
        raise RecipeError(
            f"{scheme} URL with a host part", f"write {scheme}:///relative/path or {scheme}:////absolute/path"
        )
    raw = rest[1:].partition("?")[0]
    if not raw:
        raise RecipeError(f"{scheme} URL without a path", f"write {scheme}:///path")
    return _file_location(scheme, _absolute(base, raw), resolved, text)


def compose_url(
    scheme: str,
    *,
    host: str = "",
    port: int | None = None,
    user: str = "",
    password: str = "",
    database: str = "",
    options: Mapping[str, str] | None = None,
) -> str:
    """A URL from its parts, each escaped: what a connection or a resource of an orchestrator holds.

    Args:
        database: The name of a database; for the built-in file schemes, the file's or folder's path.

    >>> compose_url("postgresql", host="db", port=5432, user="ada", password="p@ss", database="shop")
    'postgresql://ada:p%40ss@db:5432/shop'
    >>> compose_url("duckdb", database="/data/shop.duckdb")
    'duckdb:////data/shop.duckdb'
    """
    if scheme in _FILE_SCHEMES:
        return f"{scheme}:///{database}"
    secret = f":{quote(password, safe='')}" if password else ""
    login = f"{quote(user, safe='')}{secret}@" if user or password else ""
    shown = f"[{host}]" if ":" in host else quote(host, safe="")
    query = f"?{urlencode(options)}" if options else ""
    return f"{scheme}://{login}{shown}{f':{port}' if port else ''}/{quote(database, safe='')}{query}"


def overlap(one: Location, other: Location) -> bool:
    """Whether two locations are the same place, or one lies inside the other, under any spelling."""
    if one.places & other.places:
        return True
    if one.path is None or other.path is None:
        return False
    first, second = Path(os.path.realpath(one.path)), Path(os.path.realpath(other.path))
    return first in second.parents or second in first.parents


def _absolute(base: Path, text: str) -> Path:
    try:
        return (base / Path(text).expanduser()).absolute()
    except RuntimeError:
        raise RecipeError(f"there is no home folder for {text.partition('/')[0]!r}", "write the whole path") from None


def _refuse_scheme_without_slashes(text: str) -> None:
    scheme, separator, _ = text.partition(":")
    if separator and scheme.lower() in _FILE_SCHEMES:
        url = f"{scheme.lower()}:///"
        raise RecipeError(
            f"a source or target begins with {scheme}: but is no URL",
            f"write {url}relative/path or {url}/absolute/path",
        )


def _file_location(scheme: str, path: Path, url: str, text: str) -> Location:
    plain = os.path.normpath(path)
    label = f"{scheme}:///{plain}"
    if _VARIABLE.search(text):
        _, separator, rest = text.partition("://")
        label = f"{scheme}{'://' if '://' in url else ':///'}{rest.partition('?')[0] if separator else text}"
    return Location(scheme=scheme, path=Path(plain), url=url, label=label)


def _server_label_of_variables(start: str, text: str, resolved: str) -> str:
    """What the user wrote, after `start`, without user, password and query; empty where no variable stands in it."""
    if not _VARIABLE.search(text):
        return ""
    rest = text.partition("://")[2] or text
    address, _, query = rest.partition("?")
    authority, slash, path = address.partition("/")
    if "@" in f"{path}{query}":  # then a password may begin before it
        return f"{start}..."
    shown = f"{authority.rpartition('@')[2]}{slash}{path}"
    if resolved.count("?") > rest.count("?"):  # one is within a variable: what follows may be options
        shown = "".join(match[0] for match in _VARIABLE.finditer(shown))
    return f"{start}{shown}"


def _guess_scheme(path: Path, text: str) -> str:
    by_header = _scheme_by_header(path)
    if by_header or path.suffix.lower() in _SUFFIXES:
        return by_header or _SUFFIXES[path.suffix.lower()]
    names = _names_in(path)
    if names or not path.suffix:
        return "csv" if names and all(name.endswith(_CSV_SUFFIXES) for name in names) else "parquet"
    raise RecipeError(f"can't tell what kind of database {text!r} is", "write a URL such as duckdb:///file")


def _names_in(folder: Path) -> list[str]:
    """The table files in a folder and in its subfolders; none when it is no folder, or can't be read."""
    try:
        found = [*folder.iterdir(), *folder.glob("*/*")]
    except OSError:
        return []
    return [entry.name.lower() for entry in found if entry.name.lower().endswith((".parquet", *_CSV_SUFFIXES))]


def _scheme_by_header(path: Path) -> str:
    """The kind of an existing database file, from its first bytes; empty when they say nothing."""
    try:
        with path.open("rb") as stream:
            header = stream.read(16)
    except OSError:
        return ""
    if header.startswith(b"SQLite format 3"):
        return "sqlite"
    return "duckdb" if header[8:12] == b"DUCK" else ""


def _server_label(url: str) -> str:
    try:
        server = parse_server_url(url)
    except ValueError as error:  # its text holds nothing of the URL, which may hold a password
        form = "scheme://user:password@host:port/database?option=value"
        hint = f"write {form}; special characters in a password are percent-encoded"
        raise RecipeError(f"a source or target is no URL of a server: {error}", hint) from None
    return server.label if server else _without_secrets(url)


def _without_secrets(url: str) -> str:
    scheme = url.partition("://")[0]
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # its text may hold the password
        return f"{scheme}://..."
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":  # then so may what seems to be the host
        return f"{scheme}://..."
    return f"{scheme}://{parts.hostname or ''}{port}{parts.path}"
