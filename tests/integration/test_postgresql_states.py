"""Publish, roll back, collect, be killed, try again, be read: in any order, against a model that fits in a dict."""

from __future__ import annotations

import time

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from synth_ops.errors import PublishRefusedError, TargetUnavailableError
from synth_ops.location import parse_location
from synth_ops.sources.postgresql.source import PostgreSQLSource
from synth_ops.sql import THREADS_VARIABLE
from synth_ops.testing.contracts import MARKED, marked, unheard

COPIES = range(1, 6)
POINTS = (
    "lock taken", "left-overs collected", "homes made", "table first loaded", "keys of table second", "foreign keys",
    "analyzed", "staged", "swap begun", "live tables locked", "live tables moved home", "new tables moved in",
    "journal written", "committed", "swapped",
)  # fmt: skip
BEFORE_THE_SWAP = POINTS[: POINTS.index("live tables locked")]
AT_WORK = "FROM pg_stat_activity WHERE application_name = 'synth_ops' AND datname = current_database()"


class KilledError(Exception):
    """The publisher is no more."""


class Publishing(RuleBasedStateMachine):
    database = folder = admin = copies = None

    @initialize()
    def nothing_was_published(self):
        homes = self.admin.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^synth_ops_'").fetchall()
        for (home,) in homes:
            self.admin.execute(f"DROP SCHEMA {home} CASCADE")
        self.admin.execute("DROP TABLE IF EXISTS first, second CASCADE")
        self.admin.execute("TRUNCATE synth_ops.generation, synth_ops.swap RESTART IDENTITY")
        self.known, self.live, self.highest = {}, 0, 0

    @rule(copy=st.sampled_from(COPIES), keep=st.integers(1, 3), read_at=st.sampled_from((None, *BEFORE_THE_SWAP)))
    def publish(self, copy, keep, read_at):
        """Whoever takes a snapshot meanwhile sees all that was live before, and keeps nobody waiting."""
        seen, marks = [], {int(self.known[self.live][0])} if self.live else set()
        generation = self._publish(
            copy, keep, at=lambda point: seen.append(self._snapshot()) if point == read_at else None
        )
        assert seen in ([], [marks]), "who goes on with another one's work does not come by every point"
        if self.live and self.known[self.live][0] == str(copy):
            assert generation.number == self.live
            return
        self._went_live(copy)
        assert generation.number == self.live
        self._forget(keep)

    @rule(copy=st.sampled_from(COPIES), point=st.sampled_from(POINTS))
    def be_killed(self, copy, point):
        if self.live and self.known[self.live][0] == str(copy):
            return

        def die(reached):
            if reached == point:
                self._end_sessions()
                raise KilledError

        try:
            self._publish(copy, 3, at=die)
        except (KilledError, TargetUnavailableError):
            if point in POINTS[POINTS.index("committed") :]:
                self._went_live(copy)
        else:  # what was begun before was gone on with, past the point
            self._went_live(copy)
            self._forget(3)

    @rule()
    def roll_back(self):
        previous = self.known[self.live][1] if self.live else 0
        if previous not in self.known:
            with pytest.raises(PublishRefusedError):
                self.database.target().rollback()
        else:
            assert self.database.target().rollback().number == previous
            self.live = previous

    @rule(copy=st.sampled_from(COPIES))
    def be_overtaken(self, copy):
        if not self.live or self.known[self.live][0] == str(copy):
            return

        def overtake(reached):
            if reached == "swap begun":
                self.admin.execute(
                    "INSERT INTO synth_ops.swap (number, token) VALUES (%s, gen_random_uuid()::text)", (self.live,)
                )

        with pytest.raises(PublishRefusedError):
            self._publish(copy, 3, at=overtake)

    @invariant()
    def what_is_live_is_whole_and_what_is_remembered_is_there(self):
        generations = self.database.target().generations()
        assert {each.number: each.copy for each in generations} == {n: copy for n, (copy, _) in self.known.items()}
        assert [each.number for each in generations if each.live] == ([self.live] if self.live else [])
        if self.live:
            query = "SELECT DISTINCT f.publication, s.publication FROM first f FULL JOIN second s USING (id)"
            mark = int(self.known[self.live][0])
            assert self.admin.execute(query).fetchall() == [(mark, mark)]

    def _publish(self, copy, keep, **arguments):
        target = self.database.target(**arguments)
        return target.publish(MARKED, self.copies[copy], copy_id=str(copy), keep=keep, progress=unheard)

    def _snapshot(self):
        """The marks of all rows of all live tables, as the source of a recipe reads them."""
        with PostgreSQLSource(parse_location(self.database.url, self.folder)).session() as session:
            live = [table for table in session.metadata().tables if table.path[-2] == "public"]
            return {mark for table in live for mark in session.read(table).read_all()["publication"].to_pylist()}

    def _end_sessions(self):
        """And wait for it, in short steps: the server's own waiting takes a tenth of a second each."""
        self.admin.execute(f"SELECT pg_terminate_backend(pid) {AT_WORK}")
        until = time.monotonic() + 5
        while self.admin.execute(f"SELECT {AT_WORK}").fetchall():
            assert time.monotonic() < until
            time.sleep(0.002)

    def _went_live(self, copy):
        self.highest += 1
        self.known[self.highest] = (str(copy), self.live)
        self.live = self.highest

    def _forget(self, keep):
        way_back, step = [], self.live
        while step in self.known and step not in way_back:
            way_back.append(step)
            step = self.known[step][1]
        order = [*way_back, *sorted(self.known.keys() - set(way_back), reverse=True)]
        self.known = {number: self.known[number] for number in order[:keep]}


def test_any_order_of_operations_is_safe(
    marked_database, postgres_server, postgres_database, tmp_path, monkeypatch, quick
):
    monkeypatch.setenv(THREADS_VARIABLE, "1")
    database = marked_database(postgres_server, postgres_database, tmp_path)
    copies = {number: marked(tmp_path, number) for number in COPIES}
    with psycopg.connect(database.url, autocommit=True) as admin:
        machine = type(
            "Machine", (Publishing,), {"database": database, "admin": admin, "folder": tmp_path, "copies": copies}
        )
        machine.TestCase.settings = settings()
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=25 if quick else 500,
                stateful_step_count=6,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                derandomize=True,
                database=None,
            ),
        )
