"""The URLs of database servers: libpq's for PostgreSQL as they are, and the same form for MySQL and MariaDB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

_SCHEMES = {"postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
_PORTS = {"postgresql": "5432", "mysql": "3306"}
_SOCKET_OPTIONS = ("unix_socket", "socket")
_LOGIN_OPTIONS = ("user", "password")
_MISPLACED = "an @ stands behind the host"  # then what was taken for the host is a piece of the password


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUrl:
    """One URL, taken apart and percent-decoded.

    Attributes:
        scheme: `postgresql` or `mysql`.
        hosts: Host and port, each maybe empty; several are tried in turn. A host that begins with `/` is the folder of
            a socket (PostgreSQL) or the socket itself (MySQL).
        database: Empty where the URL names none.
        options: What stands behind `?`, without host, port, database, user and password.
    """

    scheme: str
    hosts: tuple[tuple[str, str], ...]
    database: str
    user: str
    password: str
    options: Mapping[str, str]

    def __repr__(self) -> str:
        return f"ServerUrl({self.label})"

    @property
    def label(self) -> str:
        """What may be shown: hosts, ports and database."""
        database = self.database.replace("@", "%40")
        sockets = [host for host, _ in self.hosts if host.startswith("/")]
        if sockets:
            port = "".join(f"&port={port}" for _, port in self.hosts[:1] if port)
            option = "host" if self.scheme == "postgresql" else "unix_socket"
            return f"{self.scheme}:///{database}?{option}={','.join(sockets)}{port}"
        hosts = ",".join(f"{_bracketed(host)}:{port}" if port else _bracketed(host) for host, port in self.hosts)
        return f"{self.scheme}://{hosts}/{database}"

    @property
    def identity(self) -> str:
        """The same for every spelling of one place, as far as the text alone can tell."""
        default = _PORTS[self.scheme]
        hosts = sorted(f"{_bracketed(host.lower() or 'localhost')}:{port or default}" for host, port in self.hosts)
        return f"{self.scheme}://{','.join(hosts)}/{self.database or self.user}"


def plugin_of(scheme: str) -> str:
    """The plug-in that reads URLs of a scheme: `postgres` and `mariadb` are other words for the same servers.

    >>> [plugin_of(scheme) for scheme in ("postgres", "mariadb+pymysql", "snowflake")]
    ['postgresql', 'mysql', 'snowflake']
    """
    name = scheme.lower().partition("+")[0]
    return _SCHEMES.get(name, name)


def parse_server_url(url: str) -> ServerUrl | None:
    """Take apart `postgresql://user:password@host:port,host2/database?option=value`; None for any other scheme.

    Raises:
        ValueError: It is malformed; the text is not repeated, as it may hold a password.

    >>> parse_server_url("postgres://ada:secret@db,[::1]:5433/shop?sslmode=require").label
    'postgresql://db,[::1]:5433/shop'
    >>> parse_server_url("postgresql:///shop?host=/run/postgresql").identity
    'postgresql:///run/postgresql:5432/shop'
    """
    scheme, separator, rest = url.partition("://")
    plugin = plugin_of(scheme)
    if not separator or plugin not in _PORTS:
        return None
    address, _, query = rest.partition("?")
    authority, _, database = address.partition("/")
    credentials, _, places = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    options = _options(query)
    if "@" in database:
        raise ValueError(_MISPLACED)
    hosts = _hosts(places)
    socket = next((options.pop(name) for name in _SOCKET_OPTIONS if plugin == "mysql" and name in options), None)
    if socket is not None:
        hosts = ((socket, ""),)
    if "host" in options:
        named = options.pop("host").split(",")
        ports = options.pop("port", "").split(",")
        hosts = tuple((host, ports[place] if place < len(ports) else ports[0]) for place, host in enumerate(named))
    elif "port" in options:
        port = options.pop("port")
        hosts = tuple((host, own or port) for host, own in hosts)
    if any(port and not port.isdecimal() for _, port in hosts):
        raise ValueError("a port is no number")
    return ServerUrl(
        scheme=plugin,
        hosts=hosts,
        database=options.pop("dbname", "") or unquote(database),
        user=options.pop("user", "") or unquote(user),
        password=options.pop("password", "") or unquote(password),
        options=options,
    )


def _hosts(places: str) -> tuple[tuple[str, str], ...]:
    hosts = []
    for place in places.split(","):
        if place.startswith("["):
            host, bracket, port = place[1:].partition("]")
            if not bracket or (port and not port.startswith(":")):
                raise ValueError("a bracket is not closed")
            hosts.append((host, port[1:]))
        else:
            host, _, port = place.partition(":")
            hosts.append((unquote(host), port))
    return tuple(hosts)


def _options(query: str) -> dict[str, str]:
    options = {}
    for option in filter(None, query.split("&")):
        name, separator, value = option.partition("=")
        if not separator:
            raise ValueError("an option has no value")
        if "@" in name or ("@" in value and name not in _LOGIN_OPTIONS):
            raise ValueError(_MISPLACED)
        options[unquote(name)] = unquote(value)
    return options


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
