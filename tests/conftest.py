"""What every test may use."""

from __future__ import annotations

import functools
import gc
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

pytest.register_assert_rewrite(
    "synth_ops.testing.contracts", "synth_ops.testing.generator_contract", "synth_ops.testing.staging_contract"
)

# with all that the tests import there is much to go through, and little to find
gc.set_threshold(100_000, 20, 20)

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SYNTH_OPS_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, one folder each with `dataset.json` and Parquet files."""
    if not DATA.is_dir():
        pytest.skip(f"needs the real data sets: set SYNTH_OPS_TEST_DATA to their folder (looked in {DATA})")
    return DATA


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"synth_ops_test_{name}", REPOSITORY / "tests" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def datasets() -> ModuleType:
    """The module `tests/datasets.py`."""
    return _module("datasets")


@pytest.fixture(scope="session")
def servers() -> ModuleType:
    """The module `tests/servers.py`: start a server of the test's own, where a test is to stop or kill it."""
    return _module("servers")


@pytest.fixture(scope="session")
def web() -> ModuleType:
    """The module `tests/web.py`: start a web server, ask it, look at its pages."""
    return _module("web")


@pytest.fixture(scope="module")
def browser(tmp_path_factory, web):
    """A headless Chromium, as wide as a small desktop."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    profile = tmp_path_factory.mktemp("chromium")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium,
            headless=True,
            args=web.SWITCHES,
            viewport={"width": 1280, "height": 800},
        )
        yield context
        context.close()


@pytest.fixture(scope="session")
def postgres_server(servers):
    """A PostgreSQL 18 that all tests share; it logs every statement."""
    server = servers.PostgresServer(servers.wheel_postgresql())
    yield server
    server.close()


@pytest.fixture(scope="session")
def debian_postgres_server(servers):
    """Debian's PostgreSQL (15), where it is installed."""
    binaries = servers.debian_postgresql() or _absent("PostgreSQL", "postgresql")
    server = servers.PostgresServer(binaries)
    yield server
    server.close()


@pytest.fixture(scope="session")
def mariadb_server(servers):
    """A MariaDB that all tests share; it logs every statement."""
    if not servers.debian_mariadb():
        _absent("MariaDB", "mariadb-server")
    server = servers.MariaDBServer()
    yield server
    server.close()


@pytest.fixture
def postgres_database(postgres_server) -> Iterator[str]:
    """The name of a fresh database on `postgres_server`."""
    with postgres_server.database() as name:
        yield name


@pytest.fixture
def mariadb_database(mariadb_server) -> Iterator[str]:
    """The name of a fresh database on `mariadb_server`."""
    with mariadb_server.database() as name:
        yield name


@pytest.fixture
def quick(request) -> bool:
    """Whether `-m "not long"` was asked for: a test then does less often what it has to do many times."""
    return request.config.option.markexpr == "not long"


def _absent(product: str, package: str) -> NoReturn:
    """CI has every server; elsewhere a test that can't run says how it could."""
    message = f"needs {product}: apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def duckdb_database(real_data, datasets, tmp_path_factory) -> Callable[[str], Path]:
    """Make, once, a DuckDB file of a real data set with its keys. To be read only: copy it before changing it."""
    folder = tmp_path_factory.mktemp("duckdb")
    return functools.cache(lambda name: datasets.load_duckdb(real_data / name, folder / f"{name}.duckdb"))


@pytest.fixture(scope="session")
def sqlite_database(real_data, datasets, tmp_path_factory) -> Callable[[str], Path]:
    """Make, once, a SQLite file of a real data set with its keys. To be read only: copy it before changing it."""
    folder = tmp_path_factory.mktemp("sqlite")
    return functools.cache(lambda name: datasets.load_sqlite(real_data / name, folder / f"{name}.db"))


@pytest.fixture
def install(tmp_path, monkeypatch) -> Callable[..., None]:
    """Install another package with one plug-in of the same name, in this process and those that it starts."""

    def write(name: str, plugin: str, code: str, *, kind: str = "generators", version: str = "1.0") -> None:
        package = tmp_path / "site-packages"
        information = package / f"{name}.dist-info"
        information.mkdir(parents=True, exist_ok=True)
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (information / "METADATA").write_text(about, encoding="utf-8")
        entry = f"[synth_ops.{kind}]\n{name} = {name}:{plugin}\n"
        (information / "entry_points.txt").write_text(entry, encoding="utf-8")
        (package / f"{name}.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(package)
        monkeypatch.setenv("PYTHONPATH", str(package))  # of processes that draw shards

    return write
