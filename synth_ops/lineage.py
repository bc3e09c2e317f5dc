"""What a table is called in the catalogues of others: asset URIs, and OpenLineage's namespace and name."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from synth_ops.location import Location
from synth_ops.server_url import parse_server_url

_SCHEMES = {"postgresql": ("postgres", "5432"), "mysql": ("mysql", "3306")}
_PUBLIC = "public"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One table of a source or target, or one artifact.

    Attributes:
        namespace: Where it is: a server, or `file`.
        name: Which it is there.
        uri: Both in one, without secrets.
    """

    namespace: str
    name: str
    uri: str


def table_dataset(location: Location, table: str) -> Dataset:
    """A table of a database server (`postgres://host:5432`, `shop.public.orders`), or one in a file or folder."""
    if location.path is not None:
        path = f"{location.path}/{quote(table, safe='')}"
        return Dataset(namespace="file", name=path, uri=f"file://{quote(path, safe='/%')}")
    server = parse_server_url(location.url)
    if server is None:
        return Dataset(namespace=location.identity, name=table, uri=f"{location.identity}/{quote(table, safe='')}")
    scheme, usual_port = _SCHEMES[server.scheme]
    host, port = server.hosts[0]
    namespace = f"{scheme}://{'localhost' if not host or host.startswith('/') else host.lower()}:{port or usual_port}"
    place = [server.database or server.user]
    if scheme == "postgres" and "." not in table:
        place.append(_PUBLIC)
    name = ".".join([*place, table])
    uri = "/".join([namespace, *place, *(quote(part, safe="") for part in table.split("."))])
    return Dataset(namespace=namespace, name=name, uri=uri)
