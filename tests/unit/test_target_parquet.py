from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from synth_ops.artifacts import TableData
from synth_ops.errors import PublishRefusedError
from synth_ops.location import parse_location
from synth_ops.metadata import Column, Metadata, Table
from synth_ops.targets.parquet import ParquetTarget, file_name
from synth_ops.testing.contracts import MARKED, marked, unheard
from synth_ops.testing.warehouses import write_table


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "live"


@pytest.fixture
def target(folder):
    return ParquetTarget(parse_location("parquet:///live", folder.parent))


def publish_marked(target, folder, number):
    return target.publish(MARKED, marked(folder, number), copy_id=str(number), keep=2, progress=unheard)


def test_one_part_is_a_file_several_are_a_folder(folder, target, tmp_path):
    first, second = MARKED.tables
    tables = {
        "first": write_table(tmp_path, first, [(number, 1) for number in range(5)], rows_per_file=2),
        "second": TableData(rows=0, files=()),
    }
    target.publish(MARKED, tables, copy_id="copy", keep=1, progress=unheard)
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == [
        "_publication.json",
        "first/part-00000.parquet",
        "first/part-00001.parquet",
        "first/part-00002.parquet",
        "second.parquet",
    ]
    assert pq.read_table(folder / "second.parquet").schema.names == list(second.column_names)
    assert json.loads((folder / "_publication.json").read_text())["tables"] == {"first": 5, "second": 0}


@pytest.mark.parametrize(
    ("table", "file"),
    [
        ("plain", "plain"),
        ("tåble 表.x", "tåble 表.x"),
        ("../up", "%2E.%2Fup"),
        ("_private", "%5Fprivate"),
        ("50%", "50%25"),
    ],
)
def test_awkward_names(folder, target, tmp_path, table, file):
    assert file_name(table) == file
    described = Table(name=table, path=(table,), columns=(Column(name='a "b"', type="INTEGER"),))
    tables = {table: write_table(tmp_path / "copy", described, [(1,)])}
    target.publish(Metadata(tables=(described,)), tables, copy_id="copy", keep=1, progress=unheard)
    assert pq.read_table(folder / f"{file}.parquet").to_pylist() == [{'a "b"': 1}]


def test_the_copys_own_files_are_not_shared(folder, target, tmp_path):
    tables = marked(tmp_path, 1)
    publish_marked(target, tmp_path, 1)
    assert not (folder / "first.parquet").samefile(tables["first"].files[0])


def test_an_empty_folder_may_be_replaced(folder, target, tmp_path):
    folder.mkdir()
    assert target.generations() == []
    publish_marked(target, tmp_path, 1)
    assert folder.is_symlink()


@pytest.mark.parametrize("what", ["file", "folder", "copied generation", "link to a folder"])
def test_what_is_not_ours_is_refused(folder, target, tmp_path, what):
    if what == "file":
        folder.write_text("mine")
    else:
        place = tmp_path / "elsewhere" if what == "link to a folder" else folder
        place.mkdir()
        (place / ("_publication.json" if what == "copied generation" else "mine.parquet")).write_text("{}")
        if what == "link to a folder":
            folder.symlink_to("elsewhere")
            target = ParquetTarget(parse_location("parquet:///live", tmp_path))
    with pytest.raises(PublishRefusedError, match="not published by synth_ops"):
        publish_marked(target, tmp_path, 1)
    assert folder.exists()


def test_publishes_where_a_link_leads(folder, tmp_path):
    (tmp_path / "disk").mkdir()
    folder.symlink_to("disk/real")
    for number in (1, 2, 3):
        target = ParquetTarget(parse_location("parquet:///live", tmp_path))
        assert publish_marked(target, tmp_path, number).number == number
    assert sorted(entry.name for entry in (tmp_path / "disk").iterdir()) == [".real.generations", "real"]
    kept = {entry.name for entry in (tmp_path / "disk/.real.generations").iterdir()}
    assert kept == {"lock", "000002", "data-000002", "data-000003"}
    assert (tmp_path / "disk/.real.generations/000002/first.parquet").is_file()


def test_the_folder_may_move_as_a_whole(folder, target, tmp_path):
    for number in (1, 2):
        publish_marked(target, tmp_path, number)
    moved = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    elsewhere = ParquetTarget(parse_location("parquet:///live", moved))
    assert [(each.number, each.live) for each in elsewhere.generations()] == [(1, False), (2, True)]
    assert elsewhere.rollback().number == 1
    assert pq.read_table(moved / "live" / "first.parquet")["publication"][0].as_py() == 1
