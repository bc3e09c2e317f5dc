"""A folder of Parquet files as a target.

The live name is a symbolic link to the folder of a generation, so that one rename swaps all files at once. A reader
who opens several files one after the other resolves the link first (`os.path.realpath`) and stays within one
generation, which stands until `keep` newer ones were published. Parquet declares no keys; they are verified beforehand.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from synth_ops import sql
from synth_ops.artifacts import TableData
from synth_ops.location import Location
from synth_ops.metadata import Metadata, Table
from synth_ops.targets.constraints import rows_sql
from synth_ops.targets.generations import FileTarget, flush_to_disk
from synth_ops.targets.publication import Published, Tick, not_ours

PUBLICATION_FILE = "_publication.json"
_UNSAFE = re.compile(r'^[._]|[/\\%:*?"<>|\x00-\x1f\x7f]')


class ParquetTarget(FileTarget):
    """Publishes to a folder of Parquet files; see the module for how to read it and `generations` for how it swaps."""

    def __init__(self, location: Location) -> None:
        super().__init__(location, _ParquetFolder(location.label))


def file_name(table: str) -> str:
    """The name of a table's file, without its suffix: unsafe characters are percent-encoded.

    >>> file_name("sales/2024")
    'sales%2F2024'
    """
    return _UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", table)


class _ParquetFolder:
    """The medium of `generations`."""

    def __init__(self, label: str) -> None:
        self._label = label

    def read(self, path: Path) -> Published | None:
        if not path.is_symlink():
            if not path.exists() or (path.is_dir() and not any(path.iterdir())):
                return None
            raise not_ours(self._label)
        try:
            return Published.from_json(json.loads((path / PUBLICATION_FILE).read_text(encoding="utf-8")))
        except FileNotFoundError:
            if not path.is_symlink() or not path.exists():
                return None  # removed in this moment, or its files were
            raise not_ours(self._label) from None
        except (NotADirectoryError, TypeError, ValueError, KeyError):
            raise not_ours(self._label) from None

    def build(
        self, path: Path, metadata: Metadata, tables: Mapping[str, TableData], published: Published, tick: Tick
    ) -> None:
        folder = path.parent.parent
        content = folder / f"data-{published.number:06}"
        content.mkdir()
        for name in metadata.table_names:
            _copy_table(content, metadata.table(name), tables[name])
            tick(f"table {name}")
        text = json.dumps(published.to_json(), ensure_ascii=False, indent=1)
        (content / PUBLICATION_FILE).write_text(text, encoding="utf-8")
        flush_to_disk(content / PUBLICATION_FILE)
        flush_to_disk(content)
        flush_to_disk(folder)
        path.symlink_to(Path(folder.name) / content.name)

    @contextlib.contextmanager
    def at_rest(self, live: Path) -> Iterator[Published | None]:
        yield self.read(live)  # a link needs no rest


def _copy_table(content: Path, table: Table, data: TableData) -> None:
    """One part becomes a file `<table>.parquet`, several become files in a folder `<table>`."""
    if len(data.files) <= 1:
        places = [content / f"{file_name(table.name)}.parquet"]
    else:
        folder = content / file_name(table.name)
        folder.mkdir()
        places = [folder / f"part-{number:05}.parquet" for number in range(len(data.files))]
    if not data.files:
        with sql.connect() as connection:
            connection.execute(f"COPY {rows_sql(table, data)} TO {sql.literal(str(places[0]))} (FORMAT parquet)")
    for file, place in zip(data.files, places, strict=False):
        shutil.copyfile(file, place)
    for place in places:
        flush_to_disk(place)
    flush_to_disk(places[0].parent)
