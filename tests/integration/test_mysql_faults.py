"""What goes wrong around a publication to MariaDB: the server, the disk, privileges, a run that died half-way."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess

import pytest

from synth_ops.errors import PublishError, PublishRefusedError, TargetUnavailableError
from synth_ops.location import parse_location
from synth_ops.metadata import Column, Metadata, Table
from synth_ops.ports import PublishRules
from synth_ops.targets.mysql import dependents
from synth_ops.targets.mysql.target import MySQLTarget
from synth_ops.testing.contracts import MARKED, marked, unheard
from synth_ops.testing.warehouses import write_table


def publish(url, folder, number, *, user="root", progress=unheard, rules=None):
    target = MySQLTarget(parse_location(url.replace("root@", f"{user}@"), folder), rules=rules)
    return target.publish(MARKED, marked(folder, number), copy_id=str(number), keep=2, progress=progress)


def rows(server, database, *statements):
    with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def live_mark(server, database):
    ((mark,),) = rows(server, database, "SELECT publication FROM first UNION SELECT publication FROM second")
    return mark


def homes(server, database):
    return sorted(name for (name,) in rows(server, database, "SHOW TABLES") if name[10:11].isdigit())


@pytest.fixture(scope="module")
def lonely_server(servers, mariadb_server):
    """One that tests may kill; `mariadb_server` says where there is none."""
    server = servers.MariaDBServer()
    yield server
    server.close()


@pytest.fixture
def lonely(lonely_server, tmp_path):
    with lonely_server.database() as name:
        url = lonely_server.url(name)
        MySQLTarget(parse_location(url, tmp_path)).mark("test", confirm=name)
        yield lonely_server, name, url


@pytest.mark.parametrize("point", ["constraints verified", "table first", "foreign keys", "staged"])
def test_a_server_that_dies_leaves_what_was_live(lonely, tmp_path, point):
    server, name, url = lonely
    publish(url, tmp_path, 1)

    def die(progress):
        if progress.item == point:
            server.kill()

    with pytest.raises(TargetUnavailableError, match="what was live is live still") as failure:
        publish(url, tmp_path, 2, progress=die)
    assert failure.value.retryable
    server.start()
    assert live_mark(server, name) == 1
    publish(url, tmp_path, 2)
    assert live_mark(server, name) == 2
    assert homes(server, name) == ["synth_ops_1_1", "synth_ops_1_2"]


def test_a_full_disk_is_told_and_leaves_what_was_live(lonely, tmp_path):
    server, name, url = lonely
    folder = server.data / name
    saved = tmp_path / "saved"
    shutil.copytree(folder, saved)
    owner = folder.stat()
    rows(server, name, "DROP TABLE synth_ops_environment, synth_ops_generation, synth_ops_live_0_0")
    options = f"size=8m,uid={owner.st_uid},gid={owner.st_gid},mode=700"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs to mount a small tmpfs: run the tests as root, in a container that may mount")
    try:
        shutil.copy(saved / "db.opt", folder / "db.opt")
        os.chown(folder / "db.opt", owner.st_uid, owner.st_gid)
        MySQLTarget(parse_location(url, tmp_path)).mark("test", confirm=name)
        publish(url, tmp_path, 1)
        noise = Table(name="noise", path=("noise",), columns=(Column(name="text", type="VARCHAR"),))
        data = write_table(tmp_path / "noise", noise, [(os.urandom(500).hex(),) for _ in range(20_000)])
        with pytest.raises(TargetUnavailableError, match="no room"):
            MySQLTarget(parse_location(url, tmp_path)).publish(
                Metadata(tables=(noise,)), {"noise": data}, copy_id="2", keep=2, progress=unheard
            )
        assert live_mark(server, name) == 1
        assert homes(server, name) == []
        assert publish(url, tmp_path, 3).number == 2
        rows(server, name, "SET foreign_key_checks = 0", f"DROP TABLE {', '.join(homes(server, name))}, first, second")
        for (table,) in rows(server, name, "SHOW TABLES"):
            rows(server, name, f"DROP TABLE {table}")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_user_that_may_not_is_told_what_to_grant(lonely, tmp_path):
    server, name, url = lonely
    publish(url, tmp_path, 1)
    user = f"{name}_weak"
    server.execute(f"CREATE USER {user}@localhost", f"GRANT SELECT, INSERT, DELETE ON {name}.* TO {user}@localhost")
    with pytest.raises(PublishRefusedError, match="may not do what publishing needs") as refusal:
        publish(url, tmp_path, 2, user=user)
    assert "ALL PRIVILEGES" in str(refusal.value)
    assert live_mark(server, name) == 1
    server.execute(f"GRANT ALL PRIVILEGES ON {name}.* TO {user}@localhost")
    assert publish(url, tmp_path, 2, user=user).number == 2
    server.execute(f"DROP USER {user}@localhost")


def test_second_foreign_keys_of_a_dead_run_are_dropped_or_kept(lonely, tmp_path):
    server, name, url = lonely
    publish(url, tmp_path, 1)
    rows(server, name, "CREATE TABLE heirs (id int, CONSTRAINT mine FOREIGN KEY (id) REFERENCES first (id))")
    referred = (
        "SELECT CONSTRAINT_NAME, REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS "
        f"WHERE CONSTRAINT_SCHEMA = '{name}' AND TABLE_NAME = 'heirs' ORDER BY 1"
    )
    rules = PublishRules(recreate_dependents=True)

    def die(progress):
        if progress.item == "swapped":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(url, tmp_path, 2, rules=rules, progress=die)
    assert set(rows(server, name, referred)) >= {("synth_ops~mine", "first")}, "whoever is killed here has the new one"
    publish(url, tmp_path, 2, rules=rules)
    publish(url, tmp_path, 3, rules=rules)
    assert rows(server, name, referred) == [("mine", "first")]
    with contextlib.closing(server.connect(name)) as connection:  # a run that died between the key and the swap
        connection.cursor().execute("SET SESSION sql_mode = 'ANSI_QUOTES'")
        found = dependents.followers(connection, "", {"first", "second"}, kept=(), recreate=True)
        dependents.follow(connection, "", found, {"first": "synth_ops_2_1"})
    assert ("synth_ops~mine", "synth_ops_2_1") in rows(server, name, referred)
    publish(url, tmp_path, 4, rules=rules)
    assert rows(server, name, referred) == [("mine", "first")]
    alone = Table(name="alone", path=("alone",), columns=MARKED.tables[0].columns)
    data = write_table(tmp_path / "alone", alone, [(1, 1)])
    target = MySQLTarget(parse_location(url, tmp_path), rules=rules)
    with pytest.raises(PublishError, match="does not have: first"):
        target.publish(Metadata(tables=(alone,)), {"alone": data}, copy_id="5", keep=2, progress=unheard)
    rows(server, name, "DROP TABLE heirs")
