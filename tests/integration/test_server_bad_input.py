"""What goes wrong on the way to a database server: one line that says so, its exit code, and no password anywhere."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import yaml

SECRET = "hunter2-s3cret"
WRONG = "hunter3-gu3ss"
SHOP = (
    "CREATE TABLE customers (id integer PRIMARY KEY, city varchar(20))",
    "CREATE TABLE orders (id integer PRIMARY KEY, customer integer NOT NULL REFERENCES customers (id), amount integer)",
)
ROWS = {
    "postgresql": (
        "INSERT INTO customers SELECT n, 'c' || n % 7 FROM generate_series(1, 100) n",
        "INSERT INTO orders SELECT n, 1 + abs(hashint4(n)) % 99, abs(hashint4(-n)) % 9 FROM generate_series(1, 600) n",
    ),
    "mysql": (
        "INSERT INTO customers SELECT seq, CONCAT('c', seq % 7) FROM seq_1_to_100",
        "INSERT INTO orders SELECT seq, 1 + CRC32(seq) % 99, CRC32(-seq) % 9 FROM seq_1_to_600",
    ),
}
FAULTS = {
    "wrong password": ({"password": WRONG}, 4, "refuses the user or the password"),
    "no such database": ({"name": "nothing"}, 4, "no such database|does not exist|there is no database"),
    "nobody listens": ({"address": "127.0.0.1:1", "option": ""}, 5, "nothing listens|can't be reached"),
    "no such host": (
        {"address": "nowhere.invalid", "option": ""},
        5,
        "nowhere|reached|no host of that name",
    ),
    "no TLS": ({"tls": True}, 4, "TLS"),
}


class Door:
    """A server that asks the user `ada` for her password, with a source and a marked target."""

    def __init__(self, scheme, server, source, target):
        self.scheme, self.server, self.source, self.target = scheme, server, source, target

    def url(self, *, name, password=SECRET, address=None, option=None, tls=False):
        if self.scheme == "postgresql":
            address = f"127.0.0.1:{self.server.port}" if address is None else address
            option = "sslmode=require" if tls else ""
        else:
            address = "localhost" if address is None else address
            option = f"unix_socket={self.server.socket}" if option is None else option
            option += "&ssl_mode=REQUIRED" if tls else ""
        return f"{self.scheme}://ada:{password}@{address}/{name}" + (f"?{option}" if option else "")


@pytest.fixture(scope="module")
def postgres_door(servers):
    server = servers.PostgresServer(servers.wheel_postgresql(), listen=True)
    with server.database() as source, server.database() as target:
        server.execute(f"CREATE ROLE ada LOGIN PASSWORD '{SECRET}'", f"GRANT CREATE ON DATABASE {target} TO ada")
        server.execute("GRANT CREATE ON SCHEMA public TO ada", database=target)
        server.execute(
            *SHOP, *ROWS["postgresql"], "GRANT SELECT ON ALL TABLES IN SCHEMA public TO ada", database=source
        )
        hba = server.data / "pg_hba.conf"
        hba.write_text("local all synth trust\nhost all ada 127.0.0.1/32 scram-sha-256\n", encoding="utf-8")
        server.execute("SELECT pg_reload_conf()")
        (server.folder / "log").write_text("", encoding="utf-8")  # CREATE ROLE stands in it
        yield Door("postgresql", server, source, target)
    server.close()


@pytest.fixture(scope="module")
def mysql_door(mariadb_server):
    with mariadb_server.database() as source, mariadb_server.database() as target:
        mariadb_server.execute(
            f"CREATE USER ada@localhost IDENTIFIED BY '{SECRET}'",
            f"GRANT SELECT ON {source}.* TO ada@localhost",
            f"GRANT ALL PRIVILEGES ON {target}.* TO ada@localhost",
        )
        mariadb_server.execute(*SHOP, *ROWS["mysql"], database=source)
        yield Door("mysql", mariadb_server, source, target)
        mariadb_server.execute("DROP USER ada@localhost")


@pytest.fixture(params=["postgres", "mysql"])
def door(request):
    return request.getfixturevalue(f"{request.param}_door")


def write(folder, **sections):
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(sections), encoding="utf-8")
    return recipe


@pytest.mark.parametrize("end", ["source", "target"])
@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_no_way_to_a_server_is_one_line_and_an_exit_code(door, cli, tmp_path, end, fault):
    how, code, said = FAULTS[fault]
    url = door.url(**{"name": getattr(door, end)} | how)
    recipe = write(tmp_path, **{"source": "a.duckdb", "target": "b.duckdb"} | {end: url})
    finished = cli("status" if end == "target" else "run", recipe)
    assert finished.code == (code if end == "target" else 5), finished.err
    (line,) = [each for each in finished.lines if each.startswith("synth-ops: ")]
    assert line.endswith(")"), "no way out"
    assert any(words in line for words in said.split("|")), line
    for secret in (SECRET, WRONG):
        assert secret not in finished.out + finished.err


class Processes:
    """Every command line that any process had, while this is entered."""

    def __enter__(self):
        self.seen, self._done = set(), threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _look(self):
        while not self._done.wait(0.02):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(file.read_bytes())
                except OSError:
                    continue


def test_a_night_leaves_the_password_nowhere(door, shell, cli, tmp_path, monkeypatch):
    recipe = write(tmp_path, source=door.url(name=door.source), target="${TARGET}", generator="marginal_tree")
    variables = {"TARGET": door.url(name=door.target)}
    with Processes() as processes:
        marked = shell("target", "init", recipe, "--environment", "test", "--confirm", door.target, env=variables)
        finished = shell("run", recipe, folder=tmp_path, env=variables)
    monkeypatch.setenv("TARGET", variables["TARGET"])
    told = [cli(command, recipe) for command in ("status", "report", "plan")]
    assert [each.code for each in (marked, finished, *told)] == [0] * 5, finished.err
    assert "published generation 1" in finished.out
    assert any(b"synth-ops" in each for each in processes.seen)
    assert not [each for each in processes.seen if SECRET.encode() in each]
    assert SECRET not in "".join(each.out + each.err for each in (marked, finished, *told))
    files = [file for file in tmp_path.rglob("*") if file.is_file() and file != recipe]
    assert len(files) > 5
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]
    if door.scheme == "postgresql":  # MariaDB's own log tells CREATE USER
        time.sleep(0.1)
        assert "COPY" in door.server.log
        assert SECRET not in door.server.log
