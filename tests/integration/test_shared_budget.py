"""One time for learning, shared by the models of several tables: each gets its part, and none is ended for another."""

from __future__ import annotations

import json

import duckdb
import pytest

from synth_ops.errors import FitError
from synth_ops.generators.composition.budget import Budget
from synth_ops.recipe import parse_recipe
from synth_ops.run import run_step
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


@pytest.fixture
def clerk(tmp_path, monkeypatch):
    """A plug-in that notes how long it may learn."""
    place = tmp_path / "plugin"
    about = place / "clerk-1.dist-info"
    about.mkdir(parents=True)
    (place / "clerk.py").write_text(CLERK)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: clerk\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[synth_ops.generators]\nclerk = clerk:Clerk\n")
    monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", str(place))
    return "clerk"


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
