"""One time for learning, shared by the models of several tables: each gets its part, and none is ended for another."""

from __future__ import annotations

import json

import duckdb
import pytest

from synth_ops.artifact_io import read_copy
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.errors import FitError
from synth_ops.generators.composition.budget import Budget
from synth_ops.recipe import parse_recipe
from synth_ops.run import latest_report, run_all, run_step
from synth_ops.store import Store
from synth_ops.worker import Isolated

SOURCE = """
CREATE TABLE large (id INTEGER PRIMARY KEY, kind VARCHAR, size INTEGER);
INSERT INTO large SELECT range, 'abc'[1 + range % 3], range * 37 % 91 FROM range(2700);
CREATE TABLE small (id INTEGER PRIMARY KEY, kind VARCHAR, size INTEGER);
INSERT INTO small SELECT range, 'xy'[1 + range % 2], range * 7 % 13 FROM range(300);
"""
CLERK = """
import json
class Clerk:
    version = "1"
    single_table = True
    own_process = True
    def __init__(self, *, max_minutes=None):
        self.minutes = max_minutes
    def fit(self, snapshot, folder, *, progress):
        (folder / "told.json").write_text(json.dumps(self.minutes))
    def load(self, folder, metadata):
        return self
    def sample(self, folder, *, seed, scale, progress):
        return {}
"""


DAWDLER = """
import time
from synth_ops.generators.marginal_tree import MarginalTree
class Dawdler(MarginalTree):
    single_table = True
    frame = False
    own_process = True
    def fit(self, snapshot, folder, *, progress):
        while "small" in snapshot.tables:
            time.sleep(1)
        super().fit(snapshot, folder, progress=progress)
"""


@pytest.fixture
def clerk(install):
    """A plug-in that notes how long it may learn."""
    install("clerk", "Clerk", CLERK)
    return "clerk"


@pytest.fixture
def dawdler(install):
    """A plug-in that never learns one of two tables to the end."""
    install("dawdler", "Dawdler", DAWDLER)
    return "dawdler"


@pytest.mark.parametrize("minutes", [20, None])
def test_every_table_is_told_its_share(clerk, tmp_path, minutes):
    with duckdb.connect(str(tmp_path / "two.duckdb")) as connection:
        connection.execute(SOURCE)
    document = {"source": "two.duckdb", "target": "t.duckdb", "generator": clerk, "fit": {"max_minutes": minutes}}
    recipe, store = parse_recipe(document).at(tmp_path), Store(tmp_path / "store")
    snapshot = run_step(recipe, "snapshot", store=store).ref
    model = store.read(run_step(recipe, "fit", store=store, needs=snapshot).ref).path / "model"
    guests = json.loads((model / "guests.json").read_text())
    told = {
        name: json.loads((model / "guests" / each["folder"] / "told.json").read_text()) for name, each in guests.items()
    }
    if minutes is None:
        assert told == {"large": None, "small": None}
    else:  # nine times the rows; nothing was used up by then
        assert told == {"large": pytest.approx(0.86 * 17, abs=1), "small": pytest.approx(17, abs=1)}


def test_what_nobody_has_learned_in_time_is_the_frames_and_the_report_says_so(dawdler, tmp_path, caplog):
    with duckdb.connect(str(tmp_path / "two.duckdb")) as connection:
        connection.execute(SOURCE)
    document = {"source": "two.duckdb", "target": "t.duckdb", "generator": dawdler, "fit": {"max_minutes": 0.3}}
    document["gate"] = {"policy": "off-for-privacy", "reason": "they are nobody's"}
    recipe, store = parse_recipe(document).at(tmp_path), Store(tmp_path / "store")
    facts = {result.step: result.facts for result in run_all(recipe, store=store)}
    assert "no time was left to learn small: relational_trees makes them" in caplog.text
    copy = read_copy(store, ArtifactRef(kind=ArtifactKind.COPY, id=facts["gate"]["copy"]))
    makers = {"large": "dawdler", "small": "relational_trees (no time was left for dawdler)"}
    assert store.facts(copy.model)["makers"] == makers
    report, document, _ = latest_report(recipe, store=store)
    assert document["settings"]["made by relational_trees (no time was left for dawdler)"] == "small"
    assert "no time was left for dawdler" in report.html.read_text(encoding="utf-8")


def shares(budget, *tables):
    guest = Isolated("marginal_tree", {})
    return [budget.within(guest, table)._budget["max_minutes"] for table in tables]


def test_a_share_is_by_size_and_what_is_left_over_goes_to_the_others():
    budget = Budget(10)
    budget.deal({"large": 90, "small": 10})
    large, small = shares(budget, "large", "small")
    assert 7 < large < 7.5
    assert small == pytest.approx(8.5, abs=0.1)  # nothing of its own time was used by the large one


def test_a_share_never_exceeds_what_the_recipe_gives_one_generator():
    budget = Budget(10)
    budget.deal({"one": 1})
    part = budget.within(Isolated("marginal_tree", {"max_minutes": 2}), "one")
    assert (part._budget["max_minutes"], part._limits.minutes) == (2, 2)


def test_without_time_left_it_says_so():
    budget = Budget(1e-9)
    budget.deal({"orders": 1})
    with pytest.raises(FitError, match=r"nothing is left of 1e-09 minutes for table 'orders'.*raise `max_minutes`"):
        budget.within(Isolated("marginal_tree", {}), "orders")
