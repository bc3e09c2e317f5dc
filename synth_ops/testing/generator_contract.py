"""The contract suite of generators: keys hold, nobody shows through, and the same seed gives the same bytes."""

from __future__ import annotations

import shutil
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from synth_ops import pickles
from synth_ops.artifacts import Snapshot, TableData
from synth_ops.errors import SynthOpsError
from synth_ops.fingerprint import file_digest
from synth_ops.metadata import Metadata
from synth_ops.ports import FittedGenerator, Generator, Progress
from synth_ops.testing.generator_cases import ODD_DATA, PEOPLE, SCHEMAS, Capability, Case, broken_constraints
from synth_ops.testing.warehouses import CANARY_NUMBER, CANARY_TEXT, leaked_canaries, rows_by_name

_PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth"})
_PICKLE_STARTS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
_TOLERANCE, _FEW = 0.02, 2
Places = pytest.TempPathFactory


class GeneratorContract:
    """What every generator must do. Override the fixture `generator`; say with `capabilities` what it can do."""

    capabilities: frozenset[Capability] = frozenset(Capability)
    """What is not named here, it refuses with a clear error, or does it all the same: it never does it wrongly."""
    closeness = 0.1
    """How far the share of a common value may be from the source's."""

    @pytest.fixture
    def generator(self) -> Generator:
        """A generator as it is when no setting is given."""
        raise NotImplementedError("give the contract your own fixture `generator`")

    @pytest.fixture(scope="class")
    @classmethod
    def models(cls) -> dict[str, Fitted]:
        """What the tests of a class share, and leave as it is: learning may take long."""
        return {}

    @pytest.fixture
    def people(self, generator: Generator, models: dict[str, Fitted], tmp_path_factory: Places) -> Fitted:
        """The generator fitted on one table; on one with children, if it can't copy it alone."""
        if "people" not in models:
            models["people"] = Fitted.on(self._people(), generator, tmp_path_factory.mktemp("people"))
        return models["people"]

    @pytest.fixture
    def largest(self, generator: Generator, models: dict[str, Fitted], tmp_path_factory: Places) -> Fitted:
        """The generator fitted on the largest schema that it can copy."""
        if "largest" not in models:
            able = [case for case in (make() for make in SCHEMAS.values()) if case.needs <= self.capabilities]
            case = max(able, key=lambda each: len(each.metadata.tables))
            models["largest"] = Fitted.on(case, generator, tmp_path_factory.mktemp("largest"))
        return models["largest"]

    def _people(self) -> Case:
        alone = PEOPLE()
        return alone if alone.needs <= self.capabilities else SCHEMAS["a child"]()

    @pytest.mark.parametrize("name", SCHEMAS)
    def test_every_constraint_holds(self, generator: Generator, tmp_path: Path, name: str) -> None:
        """Keys, references, NOT NULL and CHECK, for three seeds; or it says that it can't."""
        self._copies_or_refuses(SCHEMAS[name](), generator, tmp_path, seeds=3)

    @pytest.mark.parametrize("name", ODD_DATA)
    def test_odd_data(self, generator: Generator, tmp_path: Path, name: str) -> None:
        """It is copied, in its own types; or it says that it can't."""
        self._copies_or_refuses(ODD_DATA[name](), generator, tmp_path, seeds=1)

    def _copies_or_refuses(self, case: Case, generator: Generator, folder: Path, *, seeds: int) -> None:
        copies, refused = [], None
        try:
            fitted = Fitted.on(case, generator, folder)
            copies = [fitted.sample(seed=seed) for seed in range(seeds)]
        except SynthOpsError as refusal:
            if case.needs <= self.capabilities:
                raise
            refused = str(refusal)
        assert refused is None or (refused and not leaked_canaries(refused))
        for copy in copies:
            assert set(copy) == set(case.metadata.table_names)
            assert broken_constraints(case.metadata, copy) == {}
            for name, data in copy.items():
                assert schema_of(data) == schema_of(fitted.snapshot.tables[name])
                assert data.rows == rows_of(data)
                assert data.rows == pytest.approx(len(case.rows[name]), rel=_TOLERANCE, abs=_FEW)

    @pytest.mark.parametrize("scale", [0.5, 3.0])
    def test_a_copy_is_as_large_as_asked_for(self, largest: Fitted, scale: float) -> None:
        """Every table by the same factor; reference data may keep its size."""
        copy = largest.sample(scale=scale)
        assert broken_constraints(largest.case.metadata, copy) == {}
        for name, data in copy.items():
            rows = len(largest.case.rows[name])
            assert any(data.rows == pytest.approx(size, rel=0.1, abs=_FEW) for size in {rows * scale, rows}), (
                f"{name}: {data.rows} rows"
            )
        roots = [table.name for table in largest.case.metadata.tables if not table.foreign_keys and table.subject]
        assert roots
        assert all(copy[name].rows == round(len(largest.case.rows[name]) * scale) for name in roots)

    def test_another_seed_gives_other_rows(self, people: Fitted) -> None:
        """A seed decides something."""
        one, other = (rows_by_name(people.case.metadata, people.sample(seed=seed)) for seed in (1, 2))
        assert one != other

    def test_the_same_seed_gives_the_same_bytes(self, largest: Fitted, generator: Generator, tmp_path: Path) -> None:
        """Of one model, of a model that is loaded again, and of one fitted again."""
        if Capability.SAME_SEED not in self.capabilities:
            pytest.skip("this generator does not declare `same seed`: run it on one that does")
        first = digests(largest.sample(seed=7))
        assert digests(largest.sample(seed=7)) == first
        again = Fitted.on(largest.case, generator, tmp_path / "again")
        assert digests(again.sample(seed=7)) == first
        assert not set(digests(largest.sample(seed=8)).values()) & set(first.values()) - set(self._constant(largest))

    def _constant(self, fitted: Fitted) -> list[str]:
        """Digests of tables without a column that chance decides."""
        keys = {
            table.name: {name for key in (*table.keys, *(k.columns for k in table.foreign_keys)) for name in key}
            for table in fitted.case.metadata.tables
        }
        first = digests(fitted.sample(seed=7))
        return [first[name] for name, own in keys.items() if own >= set(fitted.case.metadata.table(name).column_names)]

    def test_a_model_may_move(self, generator: Generator, tmp_path: Path) -> None:
        """It needs its own folder, wherever that is, neither the snapshot nor the folder it was fitted in."""
        people = Fitted.on(self._people(), generator, tmp_path / "here")
        before = rows_by_name(people.case.metadata, people.sample(seed=3))
        moved = tmp_path / "elsewhere"
        shutil.move(people.folder, moved)
        shutil.rmtree(people.place)
        there = Fitted(case=people.case, generator=generator, place=tmp_path, folder=moved, snapshot=people.snapshot)
        after = rows_by_name(people.case.metadata, there.sample(seed=3))
        assert {name: len(rows) for name, rows in after.items()} == {name: len(rows) for name, rows in before.items()}
        if Capability.SAME_SEED in self.capabilities:
            assert after == before

    def test_neither_snapshot_nor_model_is_touched(self, largest: Fitted) -> None:
        """Fitting reads the snapshot; sampling reads the model."""
        read = {file: file_digest(file) for data in largest.snapshot.tables.values() for file in data.files}
        model = {file: file_digest(file) for file in files_below(largest.folder)}
        largest.sample()
        largest.generator.fit(largest.snapshot, empty(largest.place / "second"), progress=Ticks())
        assert {file: file_digest(file) for file in read} == read
        assert {file: file_digest(file) for file in files_below(largest.folder)} == model

    def test_a_copy_stays_in_its_folder(self, largest: Fitted) -> None:
        """Every file below it belongs to one table."""
        folder = empty(largest.place / "alone")
        tables = largest.load().sample(folder, seed=0, scale=1.0, progress=Ticks())
        named = [file for data in tables.values() for file in data.files]
        assert sorted(named) == sorted(files_below(folder))
        assert all(file.is_absolute() for file in named)

    def test_no_pickle(self, largest: Fitted) -> None:
        """A model is data: nothing in it runs when it is loaded, unless it is loaded in a process of its own."""
        files = list(files_below(largest.folder))
        assert files
        if getattr(largest.generator, "own_process", False):
            assert all(file_digest(file) in pickles.vouched() for file in files if file.suffix in _PICKLES)
            return
        assert [file.name for file in files if file.suffix in _PICKLES] == []
        assert [name for file in files for name, start in starts(file) if pickled(start)] == []

    def test_no_canary(self, largest: Fitted) -> None:
        """Personal values are in neither model nor copy; nor is, where it says so, any value that one person has."""
        telling = Capability.PUBLIC_VALUES in self.capabilities
        texts = [f"ada.{CANARY_TEXT}", f"Ada {CANARY_TEXT}", f"with {CANARY_TEXT}", f"Chief {CANARY_TEXT}"]
        texts += [CANARY_TEXT, str(CANARY_NUMBER)] if telling else []
        wanted = [text.encode() for text in texts]
        wanted += [struct.pack(form, CANARY_NUMBER) for form in ("<q", "<i", "<d")] if telling else []
        found = {
            file.name
            for file in files_below(largest.folder)
            for text in wanted
            if any(text in part for part in parts(file))
        }
        assert found == set()
        copy = str(rows_by_name(largest.case.metadata, largest.sample(scale=2.0)))
        assert leaked_canaries(copy, texts) == []

    def test_progress_is_told(self, largest: Fitted) -> None:
        """Of both steps, table by table, never backwards, without a value."""
        for step, ticks in (("fit", largest.ticks), ("sample", Ticks())):
            if step == "sample":
                largest.load().sample(empty(largest.place / "heard"), seed=0, scale=1.0, progress=ticks)
            assert ticks
            assert {tick.step for tick in ticks} == {step}
            assert [tick.done for tick in ticks] == sorted(tick.done for tick in ticks)
            assert all(0 <= tick.done <= tick.total for tick in ticks)
            items = " ".join(tick.item for tick in ticks)
            assert [name for name in largest.case.metadata.table_names if name not in items] == []
            assert leaked_canaries(items) == []

    def test_what_it_learned_shows(self, people: Fitted) -> None:
        """Cities as often as in the source, within what chance allows; and a share of NULL."""
        place = people.case.metadata.table("customers").column_names.index("city")
        real = [row[place] for row in people.case.rows["customers"]]
        rows = rows_by_name(people.case.metadata, people.sample(scale=20.0))["customers"]
        made = [row[place] for row in rows]
        for value in set(real):
            if real.count(value) > 4:
                assert made.count(value) / len(made) == pytest.approx(real.count(value) / len(real), abs=self.closeness)


class Ticks(list[Progress]):
    """A listener that remembers."""

    def __call__(self, progress: Progress) -> None:
        """Note one tick."""
        self.append(progress)


class Fitted:
    """A generator that was fitted on a case, with its model on disk.

    Attributes:
        place: A folder of its own; the model's is `folder`.
        ticks: What the listener heard while it was fitted.
    """

    def __init__(self, *, case: Case, generator: Generator, place: Path, folder: Path, snapshot: Snapshot) -> None:
        self.case, self.generator, self.place, self.folder, self.snapshot = case, generator, place, folder, snapshot
        self.ticks = Ticks()
        self._copies = 0

    @classmethod
    def on(cls, case: Case, generator: Generator, place: Path) -> Fitted:
        """Fit on a case."""
        snapshot = case.snapshot(place / "snapshot")
        fitted = cls(case=case, generator=generator, place=place, folder=empty(place / "model"), snapshot=snapshot)
        generator.fit(snapshot, fitted.folder, progress=fitted.ticks)
        return fitted

    def load(self) -> FittedGenerator:
        """Load the model, with metadata as it comes back from a store."""
        return self.generator.load(self.folder, Metadata.from_json(self.case.metadata.to_json()))

    def sample(self, *, seed: int = 0, scale: float = 1.0) -> Mapping[str, TableData]:
        """Draw a copy, into a folder of its own."""
        self._copies += 1
        folder = empty(self.place / f"copy-{self._copies}-of-{self.folder.name}")
        return self.load().sample(folder, seed=seed, scale=scale, progress=Ticks())


def empty(folder: Path) -> Path:
    """A new folder."""
    folder.mkdir(parents=True)
    return folder


def files_below(folder: Path) -> Iterator[Path]:
    """Every file, at any depth."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def parts(file: Path) -> Iterator[bytes]:
    """A file's bytes; the bytes of its members, if it is an archive."""
    if not zipfile.is_zipfile(file):
        yield file.read_bytes()
        return
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            yield archive.read(name)


def starts(file: Path) -> Iterator[tuple[str, bytes]]:
    """The first bytes of a file, or of each of its members."""
    return ((file.name, part[:200]) for part in parts(file))


def pickled(start: bytes) -> bool:
    """Whether a file that starts so is a pickle, or an array of pickled objects."""
    return start.startswith(_PICKLE_STARTS) or (start.startswith(b"\x93NUMPY") and b"'|O'" in start)


def digests(copy: Mapping[str, TableData]) -> dict[str, str]:
    """One digest a table, of its files in order."""
    return {name: "".join(map(file_digest, data.files)) for name, data in copy.items()}


def schema_of(data: TableData) -> object:
    """The Arrow schema that all files of a table have."""
    import pyarrow.parquet as pq

    schemas = [pq.read_schema(file).remove_metadata() for file in data.files]
    assert all(schema == schemas[0] for schema in schemas)
    return schemas[0]


def rows_of(data: TableData) -> int:
    """The rows that a table's files hold."""
    import pyarrow.parquet as pq

    return sum(int(pq.read_metadata(file).num_rows) for file in data.files)
