"""Where sources and targets are, under any spelling."""

from __future__ import annotations

import os
import sqlite3
import traceback
from dataclasses import replace
from pathlib import Path
from unittest import mock
from unittest.mock import ANY

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ops.errors import RecipeError
from synth_ops.location import Location, compose_url, overlap, parse_location, resolve_variables
from synth_ops.server_url import parse_server_url


@pytest.mark.parametrize(
    ("text", "scheme", "path"),
    [
        ("duckdb:///a.duckdb", "duckdb", "a.duckdb"),
        ("duckdb:///sub/../a.db", "duckdb", "a.db"),
        ("SQLite:///a b.db?mode=ro", "sqlite", "a b.db"),
        ("parquet:///folder/", "parquet", "folder"),
        ("csv:///.", "csv", ""),
        ("a.duckdb", "duckdb", "a.duckdb"),
        ("./a.sqlite3", "sqlite", "a.sqlite3"),
        (" folder ", "parquet", "folder"),
        ("#odd[name].ddb", "duckdb", "#odd[name].ddb"),
    ],
)
def test_relative_files(text, scheme, path, tmp_path):
    location = parse_location(text, tmp_path)
    assert (location.scheme, location.path) == (scheme, tmp_path / path)
    assert location.label == f"{scheme}:///{tmp_path / path}"
    assert parse_location(location.label, tmp_path / "elsewhere").path == location.path


@pytest.mark.parametrize(
    "text", ["${STAGE}/a.duckdb", "${STAGE}/a@b.duckdb", "duckdb:///${STAGE}/a.duckdb", "/${STAGE}/a.duckdb"]
)
def test_labels_with_variables_can_be_written_into_a_recipe(text, tmp_path, monkeypatch):
    monkeypatch.setenv("STAGE", "live")
    location = parse_location(text, tmp_path)
    assert "${STAGE}" in location.label
    assert parse_location(location.label, tmp_path) == replace(location, url=ANY)


def test_three_slashes_where_four_were_meant(tmp_path):
    (tmp_path / "a.duckdb").touch()
    meant = f"duckdb:///{str(tmp_path).lstrip('/')}/a.duckdb"
    assert parse_location(meant, tmp_path).may_be_absolute
    assert parse_location(f"{meant}?x=1", tmp_path).may_be_absolute
    for text in ("duckdb:///a.duckdb", f"duckdb:///{tmp_path}/a.duckdb", "a.duckdb", f"duckdb:///{'x' * 5000}"):
        assert not parse_location(text, tmp_path).may_be_absolute, text


@pytest.mark.parametrize("text", ["parquet:out", "CSV:/data/out", "duckdb:a.duckdb", "sqlite:"])
def test_a_scheme_without_slashes_is_no_folder(text, tmp_path):
    with pytest.raises(RecipeError, match=r"write [a-z]+:///relative/path or [a-z]+:////absolute/path") as caught:
        parse_location(text, tmp_path)
    assert "is no URL" in caught.value.message
    assert parse_location("10:30 folder", tmp_path).scheme == "parquet"


def test_absolute_files_and_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert parse_location(f"duckdb:///{tmp_path}/x.duckdb", tmp_path / "elsewhere").path == tmp_path / "x.duckdb"
    assert parse_location("~/x.db", tmp_path).path == tmp_path / "home" / "x.db"
    assert parse_location("sqlite:///~/x.db", tmp_path).path == tmp_path / "home" / "x.db"


def test_kind_from_content_before_suffix(tmp_path):
    sqlite3.connect(tmp_path / "really_sqlite.duckdb").execute("CREATE TABLE t (a)").connection.close()
    duckdb.connect(str(tmp_path / "really_duckdb.db")).close()
    duckdb.connect(str(tmp_path / "plain.dat")).close()
    assert parse_location("really_sqlite.duckdb", tmp_path).scheme == "sqlite"
    assert parse_location("really_duckdb.db", tmp_path).scheme == "duckdb"
    assert parse_location("plain.dat", tmp_path).scheme == "duckdb"


@pytest.mark.parametrize(
    ("files", "scheme"),
    [
        (["a.parquet", "b.csv"], "parquet"),
        (["a.csv", "README.md"], "csv"),
        (["a.tsv.gz"], "csv"),
        (["t/1.csv", "t/2.csv"], "csv"),
        (["t/1.parquet"], "parquet"),
        (["backup.tar.gz"], "parquet"),
        ([], "parquet"),
    ],
)
def test_kind_of_a_folder(files, scheme, tmp_path):
    folder = tmp_path / "data.v1"
    for name in files or ["nothing"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    if files == ["backup.tar.gz"] or not files:
        folder = folder.rename(tmp_path / "data")
    assert parse_location(folder.name, tmp_path).scheme == scheme


@pytest.mark.parametrize(
    "text",
    ["", "  ", "a\0b", "file.xyz", "duckdb://", "duckdb:///", "duckdb://host/x", "duckdb://[x", "~no.one/x.db"],
)
def test_what_is_no_location(text, tmp_path):
    with pytest.raises(RecipeError) as caught:
        parse_location(text, tmp_path)
    assert caught.value.hint


def test_a_name_longer_than_the_file_system_allows(tmp_path):
    assert parse_location("x" * 5000, tmp_path).scheme == "parquet"


def test_secrets_are_never_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("PASSWORD", "hunter2")
    for text in (
        "postgresql://bob:${PASSWORD}@db:5432/live?sslkey=${PASSWORD}",
        "postgresql+psycopg://bob:${PASSWORD}@db/live",
        "postgres:///live?host=/run/pg&user=bob&password=${PASSWORD}",
        "postgresql://bob:hunter2@one,two:5433/live?target_session_attrs=any",
        "mysql://bob:hunter2@db/live?unix_socket=/run/mysqld.sock",
        "mariadb://bob:hunter2@db/live",
        "snowflake://bob:hunter2@account/live?warehouse=hunter2",
    ):
        location = parse_location(text, tmp_path)
        assert location.scheme == {"postgres": "postgresql", "mariadb": "mysql"}.get(
            scheme := text.partition(":")[0].partition("+")[0], scheme
        )
        assert location.path is None
        assert "hunter2" in location.url
        assert "hunter2" not in f"{location!r} {location} {location.label} {location.places}"
    assert parse_location("postgresql://bob@db:5432/live", tmp_path).label == "postgresql://db:5432/live"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://bob:hunter2@[db/live",
        "postgresql://bob:hunter2@db:hunter2/live",
        "postgresql://bob:hunter2/x@db/live",
        "postgresql://bob:hunter2?x@db/live",
        "postgresql://bob:123/hunter2@db/live",
        "postgresql://bob:123?hunter2=x@db/live",
        "mysql://bob:123/hunter2@${PASSWORD}/live",
        "mysql://bob:${PASSWORD}@db:x/live",
    ],
)
def test_malformed_urls_of_servers(text, tmp_path, monkeypatch):
    monkeypatch.setenv("PASSWORD", "hunter2")
    with pytest.raises(RecipeError, match="percent-encoded") as caught:
        parse_location(text, tmp_path)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@given(
    form=st.sampled_from(
        [
            "{scheme}://ada:{password}@db/shop",
            "{scheme}://ada:{password}@${{HOST}}/shop",
            "{scheme}://ada:${{PASSWORD}}@db/shop?password={password}@x",
            "{scheme}://${{HOST}}/shop?password={password}@x",
            "{scheme}://${{REST}}&password={password}@x",
            "${{BASE}}&password={password}",
        ]
    ),
    scheme=st.sampled_from(["postgresql", "mysql", "snowflake"]),
    pieces=st.lists(st.sampled_from(["20241", "hunter2"]), min_size=1, max_size=4),
    marks=st.lists(st.sampled_from("/?@#:&=,[]%$;"), min_size=3, max_size=3),
)
def test_no_password_is_ever_shown(form, scheme, pieces, marks):
    password = pieces[0] + "".join(mark + piece for mark, piece in zip(marks, pieces[1:], strict=False))
    known = {"HOST": "db", "PASSWORD": password, "REST": "db/shop?a=b", "BASE": f"{scheme}://db/shop?a=b"}
    with mock.patch.dict(os.environ, known):
        try:
            location = parse_location(form.format(scheme=scheme, password=password), Path.cwd())
            shown = f"{location!r} {location.label} {location.places} {location.identity}"
        except RecipeError as error:
            shown = "".join(traceback.format_exception(error))
    assert not any(piece in shown for piece in pieces)


class TestServerUrl:
    @pytest.mark.parametrize(
        ("url", "label"),
        [
            ("postgresql://", "postgresql:///"),
            ("postgresql:///shop", "postgresql:///shop"),
            ("postgres://ada:x@h/shop", "postgresql://h/shop"),
            ("postgresql://h:1,i:2/s%20hop", "postgresql://h:1,i:2/s hop"),
            ("postgresql://[2001:db8::1]:5433/shop", "postgresql://[2001:db8::1]:5433/shop"),
            ("postgresql://a:b@h/s%40hop", "postgresql://h/s%40hop"),
            ("postgresql:///shop?host=/run/pg&port=5433", "postgresql:///shop?host=/run/pg&port=5433"),
            ("postgresql://%2Frun%2Fpg/shop", "postgresql:///shop?host=/run/pg"),
            ("postgresql://h/x?dbname=shop&host=a,b&port=1,2", "postgresql://a:1,b:2/shop"),
            ("mysql://ada:x@h:3307/shop?charset=utf8mb4", "mysql://h:3307/shop"),
            ("mariadb+pymysql://ada@localhost/shop?unix_socket=/run/my.sock", "mysql:///shop?unix_socket=/run/my.sock"),
        ],
    )
    def test_labels_lead_to_the_same_place(self, url, label):
        server = parse_server_url(url)
        assert server.label == label
        again = parse_server_url(label)
        assert (again.hosts, again.database) == (server.hosts, server.database)

    def test_parts(self):
        server = parse_server_url("postgresql://a%40b:p%2Fw%3A@h/shop?sslmode=require&options=-c%20work_mem%3D1MB")
        assert (server.user, server.password) == ("a@b", "p/w:")
        assert server.options == {"sslmode": "require", "options": "-c work_mem=1MB"}
        assert "p/w:" not in repr(server)
        assert parse_server_url("duckdb:///x") is None

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("postgres://ada:x@H/shop", "postgresql://bob:y@h:5432/shop?sslmode=require", True),
            ("postgresql:///?dbname=shop", "postgresql://localhost/shop", True),
            ("postgresql://shop@localhost", "postgresql://localhost/shop", True),
            ("postgresql://a,b/shop", "postgresql://b,a/shop", True),
            ("postgresql://h/shop", "postgresql://h:5433/shop", False),
            ("postgresql://h/shop", "postgresql://h/test", False),
            ("mariadb://h/shop", "mysql://h:3306/shop", True),
        ],
    )
    def test_identity(self, one, other, same):
        assert (parse_server_url(one).identity == parse_server_url(other).identity) is same


def test_variables():
    assert resolve_variables("${A}/${B}", {"A": "${B}", "B": "2"}) == "${B}/2"
    with pytest.raises(RecipeError, match="not set: X, Y"):
        resolve_variables("${Y}${X}${A}", {"A": ""})


class TestOverlap:
    def location(self, path) -> Location:
        return Location(scheme="duckdb", path=path, url=str(path), label=str(path))

    def test_one_file_under_many_names(self, tmp_path):
        file = tmp_path / "a.duckdb"
        file.touch()
        (tmp_path / "folder").mkdir()
        os.link(file, tmp_path / "hard.duckdb")
        (tmp_path / "soft.duckdb").symlink_to(file)
        (tmp_path / "linked").symlink_to(tmp_path)
        for name in ("a.duckdb", "folder/../a.duckdb", "hard.duckdb", "soft.duckdb", "linked/a.duckdb"):
            assert overlap(self.location(file), self.location(tmp_path / name)), name
        assert not overlap(self.location(file), self.location(tmp_path / "b.duckdb"))

    def test_files_that_do_not_exist_yet(self, tmp_path):
        (tmp_path / "linked").symlink_to(tmp_path)
        assert overlap(self.location(tmp_path / "new.db"), self.location(tmp_path / "linked" / "new.db"))

    def test_one_inside_the_other(self, tmp_path):
        inner, outer = self.location(tmp_path / "a" / "b"), self.location(tmp_path / "a")
        assert overlap(inner, outer)
        assert overlap(outer, inner)
        assert not overlap(self.location(tmp_path / "ab"), outer)

    def test_urls(self):
        live = Location(scheme="pg", path=None, url="pg://u:1@db/live", label="pg://db/live")
        same = Location(scheme="pg", path=None, url="pg://v:2@db/live", label="pg://db/live")
        assert overlap(live, same)
        assert not overlap(live, Location(scheme="pg", path=None, url="pg://db/test", label="pg://db/test"))


@pytest.mark.parametrize(
    ("parts", "url"),
    [
        ({"host": "db", "user": "a@b", "password": "p:/w", "database": "s p"}, "postgresql://a%40b:p%3A%2Fw@db/s%20p"),
        ({"host": "::1", "port": 5433}, "postgresql://[::1]:5433/"),
        ({"password": "only", "host": "db"}, "postgresql://:only@db/"),
        ({"host": "db", "options": {"sslmode": "require", "a": "b c"}}, "postgresql://db/?sslmode=require&a=b+c"),
        ({"host": "db", "password": "${HOME}"}, "postgresql://:%24%7BHOME%7D@db/"),
    ],
)
def test_the_parts_of_a_url_are_escaped(parts, url, tmp_path):
    composed = compose_url("postgresql", **parts)
    assert composed == url
    assert parse_location(composed, tmp_path).url == url


@pytest.mark.parametrize("path", ["relative/file.db", "/absolute/file.db"])
def test_the_path_of_a_file_is_the_database_of_a_url(path, tmp_path):
    assert parse_location(compose_url("sqlite", database=path), tmp_path).path == tmp_path / path
