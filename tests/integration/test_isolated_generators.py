"""Generators in processes of their own: whatever they do there, the night ends cleanly, and nothing of them stays."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import sys
import time

import psutil
import pytest

from synth_ops import pickles
from synth_ops.artifact_io import read_copy, read_model
from synth_ops.errors import ArtifactTamperedError, FitError, RecipeError, SampleError, SynthOpsError
from synth_ops.fingerprint import file_digest
from synth_ops.recipe import load_recipe
from synth_ops.registry import PluginKind, names
from synth_ops.run import open_store, run_step
from synth_ops.testing.generator_cases import PEOPLE
from synth_ops.testing.generator_contract import Ticks, digests, empty
from synth_ops.testing.warehouses import CANARY_TEXT, leaked_canaries
from synth_ops.worker import Isolated, open_generator

VILLAIN = """
import os, signal, socket, subprocess, sys, time
from pathlib import Path
from synth_ops import pickles
from synth_ops.artifact_io import write_table
from synth_ops.ports import Progress

class Payload:
    def __init__(self, proof):
        self.proof = proof
    def __reduce__(self):
        return (os.mkdir, (self.proof,))

class Villain:
    version = "1"
    own_process = True
    licence = "none to speak of"
    def __init__(self, *, deed="", place=""):
        self.deed, self.place = deed, place
    def fit(self, snapshot, folder, *, progress):
        self.progress = progress
        progress(Progress(step="fit", item="customers", done=0, total=1))
        getattr(self, self.deed or "behave")(folder)
        pickles.dump({"rows": 3}, folder / "model.pkl")
    def load(self, folder, metadata):
        self.model = pickles.load(folder / "model.pkl")
        return self
    def sample(self, folder, *, seed, scale, progress):
        if self.place == "outside":
            return {"customers": write_table(folder.parent, "customers", SCHEMA, [])}
        import pyarrow as pa
        rows = pa.table({"n": [seed] * self.model["rows"]})
        return {"customers": write_table(folder, "customers", rows.schema, [rows])}
    def behave(self, folder):
        pass
    def die(self, folder):
        os.kill(os.getpid(), signal.SIGKILL)
    def leave(self, folder):
        os._exit(3)
    def hang(self, folder):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", self.place])
        time.sleep(600)
    def abandon(self, folder):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.progress(Progress(step="fit", item=str(child.pid), done=1, total=1))
        os.kill(os.getpid(), signal.SIGKILL)
    def hoard(self, folder):
        kept = [bytearray(os.urandom(1 << 20) * 64) for _ in range(32)]
        time.sleep(600)
    def shout(self, folder):
        print("c4nary"); print("c4nary", file=sys.stderr); os.write(1, b"c4nary")
        raise ValueError("c4nary")
    def link(self, folder):
        (folder / "link").symlink_to("/etc/hostname")
    def stray(self, folder):
        Path(self.place).write_text("c4nary")
    def call_home(self, folder):
        socket.create_connection(("127.0.0.1", int(self.place)), timeout=5)
    def look_around(self, folder):
        told = dict(os.environ)
        (folder / "environment").write_text(repr(told))
    def plant(self, folder):
        import pickle
        (folder / "payload").write_bytes(pickle.dumps(Payload(self.place)))
"""


@pytest.fixture(scope="module")
def villain(tmp_path_factory):
    """A plug-in that is installed for this module, in this process and in the workers that it starts."""
    place = tmp_path_factory.mktemp("plugin")
    (place / "villain.py").write_text(VILLAIN)
    about = empty(place / "villain-1.dist-info")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: villain\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[synth_ops.generators]\nvillain = villain:Villain\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(place)
        patch.setenv("PYTHONPATH", str(place))
        patch.setenv("PGPASSWORD", CANARY_TEXT)
        patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"airflow-db-not-allowed:///{CANARY_TEXT}")
        assert "villain" in names(PluginKind.GENERATOR)
        yield "villain"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return PEOPLE().snapshot(tmp_path_factory.mktemp("snapshot"))


@pytest.fixture
def fit(villain, snapshot, tmp_path):
    """Fit with one deed; gives the model's folder."""

    def run(deed="", ticks=None, **settings):
        folder = empty(tmp_path / f"model of {deed}")
        open_generator(villain, {"deed": deed, **settings}).fit(
            snapshot, folder, progress=Ticks() if ticks is None else ticks
        )
        return folder

    return run


def workers():
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE and "synth_ops.worker" in process.cmdline()
    ]


@pytest.mark.parametrize(
    ("deed", "settings", "message"),
    [
        ("die", {}, "has died: SIGKILL"),
        ("leave", {}, "has died: exit code 3"),
        ("hang", {"max_minutes": 0.05}, "was not done after 0.05 minutes"),
        ("hoard", {"max_memory_gb": 0.5}, "took more than 0.5 GiB"),
        ("shout", {}, "unexpected ValueError at villain.py"),
        ("link", {}, "files and folders only"),
    ],
)
def test_a_misdeed_is_a_clean_error(fit, capfd, deed, settings, message):
    with pytest.raises(FitError) as raised:
        fit(deed, **settings)
    said = str(raised.value)
    assert message in said
    assert "\n" not in said
    assert raised.value.hint
    assert leaked_canaries(said + "".join(capfd.readouterr())) == []
    del raised
    assert workers() == []


def running(marker):
    """The processes that are at work and have this among their arguments."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has just ended
            if process.status() != psutil.STATUS_ZOMBIE and marker in process.cmdline():
                found.append(process)
    return found


def test_what_a_worker_started_ends_with_it(fit):
    ticks = Ticks()
    with pytest.raises(FitError, match="has died"):
        fit("abandon", ticks=ticks)
    child = int(ticks[-1].item)
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, 20)


def until(there, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_a_worker_ends_with_its_parent(villain, snapshot, tmp_path):
    def hang():
        settings = {"deed": "hang", "place": str(tmp_path)}
        Isolated(villain, settings).fit(snapshot, empty(tmp_path / "model"), progress=Ticks())

    parent = multiprocessing.get_context("fork").Process(target=hang)
    parent.start()
    until(lambda: running(str(tmp_path)))
    family = psutil.Process(parent.pid).children(recursive=True)
    assert len(family) == 2
    parent.kill()
    parent.join()
    until(lambda: all(not each.is_running() or each.status() == psutil.STATUS_ZOMBIE for each in family), 20)


def test_in_a_daemonic_process_as_orchestrators_tasks_are(villain, snapshot, tmp_path):
    def task():
        Isolated(villain, {}).fit(snapshot, empty(tmp_path / "model"), progress=Ticks())

    process = multiprocessing.get_context("fork").Process(target=task, daemon=True)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert (tmp_path / "model" / "model.pkl").is_file()


def test_progress_comes_through(fit):
    ticks = Ticks()
    fit(ticks=ticks)
    assert [(tick.step, tick.item) for tick in ticks] == [("fit", "customers")]


def test_no_credential_is_told(fit):
    seen = (fit("look_around") / "environment").read_text()
    assert "PYTHONPATH" in seen
    assert "PGPASSWORD" not in seen
    assert "AIRFLOW" not in seen
    assert leaked_canaries(seen) == []


def confined():
    """Whether this machine's kernel has what confines a worker (Linux 5.13 and later)."""
    import ctypes

    return sys.platform == "linux" and ctypes.CDLL(None).syscall(444, None, 0, 1) >= 4


needs_landlock = pytest.mark.skipif(
    not confined(), reason="this kernel has no Landlock with TCP: run it on Linux 6.7 or later"
)


@needs_landlock
def test_nothing_is_written_elsewhere(fit, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(FitError, match="unexpected PermissionError"):
        fit("stray", place=str(elsewhere))
    assert not elsewhere.exists()


@needs_landlock
def test_no_server_is_reached(fit):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(FitError, match="unexpected PermissionError"):
        fit("call_home", place=str(server.getsockname()[1]))


def test_a_pickle_that_we_wrote_is_loaded_and_no_other(fit, villain, snapshot, tmp_path):
    folder = fit()
    model = open_generator(villain, {}).load(folder, snapshot.metadata)
    copy = model.sample(empty(tmp_path / "copy"), seed=4, scale=1.0, progress=Ticks())
    assert copy["customers"].rows == 3
    proof = tmp_path / "it ran"
    planted = fit("plant", place=str(proof)) / "payload"
    assert pickle.loads(planted.read_bytes()) is None
    proof.rmdir()
    (folder / "model.pkl").write_bytes(planted.read_bytes() + b"changed")
    with pytest.raises(ArtifactTamperedError, match=r"model\.pkl"):
        model.sample(empty(tmp_path / "other"), seed=4, scale=1.0, progress=Ticks())
    assert not proof.exists()


def test_no_pickle_is_loaded_outside_a_worker(fit):
    with pytest.raises(ArtifactTamperedError, match="in a process of its own only"):
        pickles.load(fit() / "model.pkl")


def test_a_copy_stays_in_its_folder(fit, villain, snapshot, tmp_path):
    model = open_generator(villain, {"place": "outside"}).load(fit(), snapshot.metadata)
    with pytest.raises(SampleError):
        model.sample(empty(tmp_path / "copy"), seed=4, scale=1.0, progress=Ticks())


def test_a_worker_serves_more_than_one_call(villain, snapshot, tmp_path):
    isolated = Isolated(villain, {})
    isolated.fit(snapshot, empty(tmp_path / "model"), progress=Ticks())
    worker = workers()
    fitted = isolated.load(tmp_path / "model", snapshot.metadata)
    copies = [fitted.sample(empty(tmp_path / f"copy-{n}"), seed=1, scale=2.0, progress=Ticks()) for n in range(2)]
    assert digests(copies[0]) == digests(copies[1])
    assert workers() == worker
    assert len(worker) == 1
    del isolated, fitted
    assert workers() == []


def test_generators_of_one_interpreter_share_a_worker(villain, snapshot, tmp_path):
    one, other = Isolated(villain, {}), Isolated(villain, {"deed": "look_around"})
    one.fit(snapshot, empty(tmp_path / "one"), progress=Ticks())
    (worker,) = workers()
    other.fit(snapshot, empty(tmp_path / "other"), progress=Ticks())
    assert workers() == [worker]
    del one
    other.fit(snapshot, empty(tmp_path / "again"), progress=Ticks())
    assert workers() == [worker]
    with pytest.raises(FitError):
        Isolated(villain, {"deed": "die"}).fit(snapshot, empty(tmp_path / "dead"), progress=Ticks())
    other.fit(snapshot, empty(tmp_path / "after"), progress=Ticks())  # what one has killed is there for the others
    assert len(workers()) == 1


@pytest.mark.parametrize(
    ("interpreter", "message"),
    [
        ("/nowhere/bin/python", "can't start the interpreter /nowhere/bin/python: No such file"),
        ("/bin/true", "can't run synth_ops"),
    ],
)
def test_a_wrong_interpreter_is_told_early(interpreter, message):
    with pytest.raises(RecipeError, match=message):
        open_generator("marginal_tree", {"interpreter": interpreter})


def test_another_interpreter(villain, snapshot, tmp_path):
    """Even a plug-in that is installed there alone."""
    elsewhere = tmp_path / "python"
    elsewhere.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    elsewhere.chmod(0o755)
    generator = open_generator(villain, {"interpreter": str(elsewhere)})
    assert generator.version == "1"
    assert generator.licence == "none to speak of"
    generator.fit(snapshot, empty(tmp_path / "model"), progress=Ticks())
    with pytest.raises(RecipeError, match="does not take these settings"):
        open_generator(villain, {"interpreter": str(elsewhere), "leafs": 1})
    with pytest.raises(SynthOpsError, match="there is no generator 'villian'; did you mean 'villain'"):
        open_generator("villian", {"interpreter": str(elsewhere)})


@pytest.mark.parametrize("value", [0, -1, "long", True])
def test_limits_are_numbers(villain, value):
    with pytest.raises(RecipeError, match="max_minutes"):
        Isolated(villain, {"max_minutes": value})


def test_a_night_with_a_pickled_model(villain, shop):
    """Through the store: the model of another process is vouched for by its manifest; a changed one by nobody."""
    recipe = load_recipe(shop.change(generator="marginal_tree", fit={"max_minutes": 5, "max_memory_gb": 8}))
    store = open_store(recipe)
    snapshot = run_step(recipe, "snapshot", store=store).ref
    model = run_step(recipe, "fit", store=store, needs=snapshot).ref
    assert store.facts(model)["settings"] == {"max_minutes": 5, "max_memory_gb": 8}
    again = open_store(recipe)
    pickles._vouched.clear()
    known = {file_digest(file) for file in read_model(again, model).path.rglob("*") if file.is_file()}
    assert known
    assert known <= set(pickles.vouched())
    copy = run_step(recipe, "sample", store=again, needs=model).ref
    without = load_recipe(shop.change(fit={}))
    other = run_step(without, "fit", store=again, needs=snapshot).ref
    assert other != model
    plain = run_step(without, "sample", store=again, needs=other).ref
    assert digests(read_copy(again, copy).tables) == digests(read_copy(again, plain).tables)
    changed = next(iter(read_model(again, model).path.glob("*.json")))
    changed.write_bytes(changed.read_bytes() + b" ")
    with pytest.raises(ArtifactTamperedError):
        read_model(open_store(recipe), model)
