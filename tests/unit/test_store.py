from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import uuid

import pytest

import synth_ops
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.errors import ArtifactError, ArtifactNotFoundError, ArtifactTamperedError, MissingExtraError, RecipeError
from synth_ops.fingerprint import fingerprint
from synth_ops.store import Store

REF = ArtifactRef(kind=ArtifactKind.COPY, id="0123456789abcdef0123")
OTHER = ArtifactRef(kind=ArtifactKind.COPY, id="ffffffffffffffffffff")
BODY = {"rows": 3, "names": ["a", "表"]}
CHILD = """
import os, signal, sys
from pathlib import Path
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.store import Store

store = Store(sys.argv[1])
ref = ArtifactRef(kind=ArtifactKind.COPY, id="0123456789abcdef0123")
"""


@pytest.fixture(params=["disk", "memory"])
def root(request, tmp_path):
    return tmp_path / "store" if request.param == "disk" else f"memory://{uuid.uuid4()}/store"


@pytest.fixture
def disk(tmp_path):
    return tmp_path / "store"


def write(store, ref=REF, text="hello"):
    with store.scratch() as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file.txt").write_text(text)
        store.write(ref, BODY, folder)


def in_another_process(code, root, **options):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code, str(root)], stdout=subprocess.PIPE, text=True, **options
    )


def test_reads_back_what_was_written(root):
    store = Store(root)
    assert not store.exists(REF)
    write(store)
    for reader in (store, Store(root)):
        assert reader.exists(REF)
        stored = reader.read(REF)
        assert stored.body == BODY
        assert (stored.path / "deep" / "file.txt").read_text() == "hello"
        assert reader.artifacts(ArtifactKind.COPY) == [REF]
        assert reader.artifacts(ArtifactKind.MODEL) == []


def test_an_artifact_may_have_no_files(root):
    Store(root).write(REF, BODY)
    assert Store(root).read(REF).body == BODY


def test_what_is_there_stays(root):
    store = Store(root)
    write(store, text="first")
    write(store, text="second")
    assert (Store(root).read(REF).path / "deep" / "file.txt").read_text() == "first"


def test_what_is_not_there_is_not_found(root):
    with pytest.raises(ArtifactNotFoundError, match=REF.id) as failure:
        Store(root).read(REF)
    assert "run the copy step" in failure.value.hint


def test_remembers_what_a_step_made(root):
    store = Store(root)
    key = ("snapshot", {"state": "token"})
    store.remember(*key, ref=REF)
    assert store.recall(*key) is None, "noted, but never written"
    write(store)
    assert Store(root).recall(*key) == REF
    assert store.recall("snapshot", {"state": "another"}) is None
    write(store, OTHER)
    store.remember(*key, ref=OTHER)
    assert store.recall(*key) == OTHER


@pytest.mark.parametrize("note", ["", "[]", '{"ref": 1}', None])
def test_a_changed_note_is_no_note(disk, note):
    store = Store(disk)
    for ref in (REF, OTHER):
        write(store, ref)
    store.remember("key", ref=REF)
    (file,) = (disk / "memo").iterdir()
    if note is None:
        note = json.dumps({**json.loads(file.read_text()), "ref": OTHER.to_json()})
    file.write_text(note)
    assert store.recall("key") is None


def _edit_manifest(place, change):
    manifest = json.loads((place / "manifest.json").read_text())
    change(manifest)
    (place / "manifest.json").write_text(json.dumps(manifest))


TAMPERINGS = {
    "a file changed": lambda place: (place / "deep" / "file.txt").write_text("h3llo"),
    "a file removed": lambda place: (place / "deep" / "file.txt").unlink(),
    "a file added": lambda place: (place / "deep" / "more.txt").write_text("more"),
    "the body changed": lambda place: _edit_manifest(place, lambda manifest: manifest["body"].update(rows=4)),
    "a digest changed": lambda place: _edit_manifest(place, lambda manifest: manifest["files"].clear()),
    "no signature": lambda place: _edit_manifest(place, lambda manifest: manifest.pop("signature")),
    "an odd signature": lambda place: _edit_manifest(place, lambda manifest: manifest.update(signature="é")),
    "a truncated manifest": lambda place: os.truncate(place / "manifest.json", 40),
    "an empty manifest": lambda place: os.truncate(place / "manifest.json", 0),
    "bytes for a manifest": lambda place: (place / "manifest.json").write_bytes(b"\xff\xfe"),
    "a list for a manifest": lambda place: (place / "manifest.json").write_text("[]"),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_tampering_is_noticed(disk, what):
    write(Store(disk))
    TAMPERINGS[what](disk / "copy" / REF.id)
    with pytest.raises(ArtifactTamperedError, match=REF.id) as failure:
        Store(disk).read(REF)
    assert f"delete {disk}/copy/{REF.id}" in failure.value.hint


def test_an_artifact_under_another_ones_id_is_noticed(disk):
    write(Store(disk))
    (disk / "copy" / REF.id).rename(disk / "copy" / OTHER.id)
    with pytest.raises(ArtifactTamperedError):
        Store(disk).read(OTHER)


def test_tampering_is_noticed_in_a_remote_store():
    import fsspec

    root = f"memory://{uuid.uuid4()}/store"
    write(Store(root))
    fsspec.filesystem("memory").pipe_file(f"{root}/copy/{REF.id}/deep/file.txt", b"h3llo")
    with pytest.raises(ArtifactTamperedError, match="differ"):
        Store(root).read(REF)


def test_another_key_reads_nothing(root, monkeypatch):
    monkeypatch.setenv("SYNTH_OPS_STORE_KEY", "one")
    write(Store(root))
    assert Store(root).read(REF).body == BODY
    monkeypatch.setenv("SYNTH_OPS_STORE_KEY", "two")
    with pytest.raises(ArtifactTamperedError, match="signature") as failure:
        Store(root).read(REF)
    assert "SYNTH_OPS_STORE_KEY" in failure.value.hint
    assert "two" not in str(failure.value)


def test_its_own_key_is_private_and_never_empty(disk):
    Store(disk)
    key = disk / ".key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.write_text("\n")
    with pytest.raises(ArtifactError, match="key"):
        Store(disk)


def test_an_artifact_without_its_manifest_is_made_again(disk):
    store = Store(disk)
    write(store)
    (disk / "copy" / REF.id / "manifest.json").unlink()
    assert not store.exists(REF)
    assert store.artifacts(ArtifactKind.COPY) == []
    write(store, text="again")
    assert (Store(disk).read(REF).path / "deep" / "file.txt").read_text() == "again"


def test_a_relative_root_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store("store")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    write(store)
    assert store.read(REF).path == tmp_path / "store" / "copy" / REF.id


@pytest.mark.parametrize("root", ["file", "file/below"])
def test_a_root_that_cannot_be(tmp_path, root):
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match=str(tmp_path / root)) as failure:
        Store(tmp_path / root)
    assert "SYNTH_OPS_STORE" in failure.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere: run the tests as another user")
def test_a_root_without_write_permission(disk):
    store = Store(disk)
    disk.chmod(0o500)
    try:
        with pytest.raises(ArtifactError, match="Permission denied"):
            write(store)
    finally:
        disk.chmod(0o700)


def test_a_full_disk_leaves_nothing(disk):
    Store(disk)
    code = """
import resource
from synth_ops.errors import ArtifactError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    with store.scratch() as folder:
        (folder / "large").write_bytes(bytes(1_000_000))
except ArtifactError as error:
    print(error.message)
"""
    with in_another_process(code, disk) as writer:
        said = writer.communicate(timeout=60)[0]
    assert said.strip() == f"the store {disk} can't be used: File too large"
    assert sorted(entry.name for entry in disk.iterdir()) == [".key"]
    assert resource.RLIM_INFINITY in resource.getrlimit(resource.RLIMIT_FSIZE)


def test_other_failures_in_scratch_are_not_the_stores(disk):
    with pytest.raises(ConnectionRefusedError), Store(disk).scratch():
        raise ConnectionRefusedError


@pytest.mark.parametrize("moment", ["half a file", "before the manifest", "before the rename"])
def test_a_killed_writer_leaves_no_artifact_and_no_scratch(disk, moment):
    code = f"""
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

with store.scratch() as folder:
    (folder / "file.txt").write_text("half")
    if {moment!r} == "half a file":
        die()
    if {moment!r} == "before the manifest":
        moment = lambda event, found: event == "open" and "manifest" in str(found[0]) and found[1] == "w"
    else:
        moment = lambda event, found: event == "os.rename"
    sys.addaudithook(lambda event, found: moment(event, found) and die())
    store.write(ref, {{}}, folder)
"""
    with in_another_process(code, disk) as writer:
        writer.wait(timeout=60)
    assert writer.returncode == -signal.SIGKILL
    store = Store(disk)
    assert not store.exists(REF)
    assert store.artifacts(ArtifactKind.COPY) == []
    assert [entry for entry in disk.iterdir() if entry.name.startswith(".scratch")]
    write(store)
    assert store.read(REF).body == BODY
    assert sorted(entry.name for entry in disk.iterdir()) == [".key", "copy"]


def test_scratch_in_use_is_left_alone(disk):
    store = Store(disk)
    code = "with store.scratch() as folder: print(folder, flush=True); sys.stdin.readline(); print(folder.is_dir())"
    with in_another_process(code, disk, stdin=subprocess.PIPE) as writer:
        other = writer.stdout.readline().strip()
        with store.scratch() as mine, store.scratch() as second:
            assert len({str(mine), str(second), other}) == 3
            assert mine.is_dir()
        assert writer.communicate("go on\n", timeout=60)[0] == "True\n"


def test_two_processes_may_write_the_same_artifact(disk):
    code = """
with store.scratch() as folder:
    (folder / "file.txt").write_text("the same")
    print("ready", flush=True)
    sys.stdin.readline()
    store.write(ref, {"n": 1}, folder)
print(store.read(ref).body["n"])
"""
    with (
        in_another_process(code, disk, stdin=subprocess.PIPE) as one,
        in_another_process(code, disk, stdin=subprocess.PIPE) as two,
    ):
        for writer in (one, two):
            assert writer.stdout.readline() == "ready\n"
        for writer in (one, two):
            writer.stdin.write("go\n")
            writer.stdin.flush()
        assert [writer.communicate(timeout=60)[0] for writer in (one, two)] == ["1\n", "1\n"]
    assert (Store(disk).read(REF).path / "file.txt").read_text() == "the same"
    assert sorted(entry.name for entry in disk.iterdir()) == [".key", "copy"]


def test_a_protocol_whose_package_is_missing_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match="install s3fs"):
        Store("s3://bucket/store")


def test_a_protocol_that_nobody_knows():
    with pytest.raises(RecipeError, match="unknown store protocol 'foo'") as caught:
        Store("foo://x")
    assert caught.value.hint


def test_facts_are_read_without_the_files(root):
    store = Store(root)
    write(store)
    assert store.facts(REF) == BODY
    assert store.read(REF).version == synth_ops.__version__
    with pytest.raises(ArtifactNotFoundError):
        store.facts(OTHER)


def test_what_is_deleted_is_gone_and_can_be_made_again(root):
    store = Store(root)
    store.delete(REF)
    write(store)
    store.read(REF)
    store.delete(REF)
    assert not store.exists(REF)
    with pytest.raises(ArtifactNotFoundError):
        store.read(REF)
    write(store, text="again")
    assert (store.read(REF).path / "deep" / "file.txt").read_text() == "again"


def test_a_log_keeps_its_last_entries(root):
    store = Store(root)
    for number in range(7):
        store.record("nights", name=f"{number}", entry={"night": number}, keep=3)
    assert [entry["night"] for entry in store.recorded("nights", last=9)] == [4, 5, 6]


def test_of_many_logs_those_stay_that_were_written_to_last(disk):
    store = Store(disk)
    for number in range(5):
        store.record("seconds", number, name="fit", entry={"seconds": number})
        os.utime(disk / "log" / fingerprint("seconds", number), (number, number))
    store.trim_log(2)
    assert [bool(store.recorded("seconds", number, last=1)) for number in range(5)] == [False, False, False, True, True]
