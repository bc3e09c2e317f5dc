"""The tables of a new generation, built where nobody sees them: by one process, or a table each by many."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from synth_ops.artifacts import TableData
from synth_ops.metadata import Metadata, Orphans, Table
from synth_ops.ports import PublishRules
from synth_ops.targets.constraints import enforceable_foreign_keys, verify
from synth_ops.targets.postgresql import carry_over, declarations, history, schema, staging, staying
from synth_ops.targets.postgresql.connection import Connection, explained
from synth_ops.targets.postgresql.definitions import Place, place_of, place_sql
from synth_ops.targets.postgresql.draft import Draft, draft
from synth_ops.targets.postgresql.history import History
from synth_ops.targets.postgresql.loading import load
from synth_ops.targets.postgresql.schema import Plan
from synth_ops.targets.postgresql.staging import Stage
from synth_ops.targets.postgresql.swap import Failpoint, oids
from synth_ops.targets.publication import Tick, law_of
from synth_ops.targets.staying import Staying

_NOTHING = Staying()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where one copy is built.

    Attributes:
        before: What the target remembered when the work began.
        copy: Id of the copy.
        label: The target's, to be shown.
        at: Called at every named point of the way.
    """

    connection: Connection
    before: History
    metadata: Metadata
    copy: str
    rules: PublishRules
    label: str
    at: Failpoint

    @property
    def wanted(self) -> list[Table]:
        """The tables to publish: all but those that stay as they are."""
        return [table for table in self.metadata.tables if table.name not in self.rules.kept]

    @property
    def kept(self) -> frozenset[Place]:
        """Where the tables stand that stay as they are."""
        return frozenset(place_of(table) for table in self.metadata.tables if table.name in self.rules.kept)

    @property
    def apart(self) -> bool:
        """Whether tables may be loaded apart: not where rows stay, which decide how far the keys of all tables move."""
        return not (self.rules.append or self.rules.fixtures)

    @property
    def is_live(self) -> bool:
        """Whether readers see this very copy, published by these very rules."""
        live = self.before.live
        return live is not None and (live.published.copy, live.rules) == (self.copy, self.law)

    @property
    def law(self) -> str:
        """A fingerprint of the rules."""
        return law_of(self.rules)

    def open(self, reader: duckdb.DuckDBPyConnection, tables: Mapping[str, TableData], tick: Tick) -> Build:
        """Begin, or go on with what was begun for this copy; whatever else was under way ends.

        Raises:
            PublishError: The copy breaks a constraint, or the target can't take it.
            TargetUnavailableError: Another run is loading a table.
        """
        if (begun := self._begun()) and self.apart and not begun.stage.closing:
            tick("constraints verified")
            return begun
        verify(reader, _beyond_the_server(self.metadata, self.wanted), tables)
        tick("constraints verified")
        staging.close(self.connection, self.label)
        taken = max((history.number_of(home) for home in history.collect(self.connection)), default=0)
        self.at("left-overs collected")
        plan = self._draft(taken)
        history.create_homes(self.connection, plan.homes)
        self.at("homes made")
        declarations.create_types(self.connection, self.metadata)
        stage = staging.begin(
            self.connection, copy=self.copy, rules=self.law, fence=self.before.fence, taken=taken, stamp=plan.stamp
        )
        self.at("stage open")
        return Build(site=self, plan=plan, stage=stage)

    def join(self, token: str) -> Build:
        """Take part in what was begun.

        Raises:
            PublishRefusedError: Another run has begun since, or the live tables are not what they were.
        """
        begun = self._begun()
        if begun is None or begun.stage.token != token:
            raise staging.refusal(self.label)
        return begun

    def _begun(self) -> Build | None:
        """What is under way for this copy, if it can still become a generation."""
        stage = staging.find(self.connection)
        if stage is None or (stage.copy, stage.rules, stage.fence) != (self.copy, self.law, self.before.fence):
            return None
        plan = self._draft(stage.taken)
        return (
            Build(site=self, plan=plan, stage=stage)
            if plan.stamp == stage.stamp and self._stands(plan, stage)
            else None
        )

    def _stands(self, plan: Draft, stage: Stage) -> bool:
        """Whether all that was built so far is there still: somebody may have dropped it."""
        homes = list(set(plan.homes.values()))
        schemas = self.connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = ANY(%s)", (homes,))
        done = staging.loaded(self.connection, stage.token)
        built = [each.built for each in plan.plans if each.table.name in done]
        return schemas.fetchall() == [(len(homes),)] and len(oids(self.connection, built)) == len(built)

    def _draft(self, taken: int) -> Draft:
        return draft(
            self.connection,
            self.before,
            self.wanted,
            rules=self.rules,
            kept=self.kept,
            label=self.label,
            taken=taken,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One generation under way.

    Attributes:
        plan: What will be done.
        stage: What the target remembers of it.
    """

    site: Site
    plan: Draft
    stage: Stage

    def fill(self, reader: duckdb.DuckDBPyConnection, tables: Mapping[str, TableData], tick: Tick) -> dict[str, int]:
        """Load what no worker has loaded yet, with the target's rows that stay. Returns the tables' numbers of rows."""
        connection, metadata = self.site.connection, self.site.metadata
        stays = staying.gather(connection, metadata, self.plan.plans, self.site.rules)
        done = staging.loaded(connection, self.stage.token)
        shifts = staying.shifts(connection, reader, metadata, tables, stays) if stays else {}
        for each in self.plan.plans:
            name = each.table.name
            moved = {column: shift for (table, column), shift in shifts.items() if table == name}
            if name not in done:
                self._load(reader, each, tables[name], moved, stays)
            tick(f"table {name}")
        return staging.loaded(connection, self.stage.token)

    def load(self, reader: duckdb.DuckDBPyConnection, table: str, data: TableData) -> None:
        """Load one table, where it is not one that stays as it is."""
        for each in self.plan.plans:
            if each.table.name == table:
                self._load(reader, each, data, {}, _NOTHING)

    def finish(self, tick: Tick) -> None:
        """Make the generation whole, when all tables are loaded: all but visible. It is done once, or begun anew."""
        connection, label = self.site.connection, self.site.label
        staging.complete(connection, self.stage)
        plans, built = self.plan.plans, {each.place: each.built for each in self.plan.plans}
        for each in plans:
            with explained(label, f"table {each.table.name!r}"):
                schema.add_foreign_keys(connection, self.site.metadata, each, built)
                self.site.at(f"foreign keys of table {each.table.name}")
                schema.set_sequences(connection, each)
        tick("foreign keys")
        with explained(label, "what the live tables' users gave them"):
            carry_over.settings(connection, plans, self.plan.homes)
            tick("settings carried over")
            history.refuse_pooler(connection, label)
            connection.execute(f"ANALYZE {', '.join(map(place_sql, built.values()))}" if built else "SELECT")
            tick("analyzed")
            carry_over.owners_and_grants(connection, plans)

    def _load(
        self,
        reader: duckdb.DuckDBPyConnection,
        plan: Plan,
        data: TableData,
        shifts: Mapping[str, int],
        stays: Staying,
    ) -> None:
        """One table, with its keys and indexes, in one transaction; nothing, where another worker was first."""
        connection, metadata, name, at = self.site.connection, self.site.metadata, plan.table.name, self.site.at
        with explained(self.site.label, f"table {name!r}"), connection.transaction():
            if not staging.claim(connection, self.stage.token, name, self.site.label):
                return
            schema.create(connection, metadata, plan)
            at(f"table {name} created")
            load(connection, reader, plan.built, plan.table, plan.columns, data, shifts)
            at(f"table {name} loaded")
            rows = data.rows + staying.insert(connection, plan, stays)
            schema.add_keys(connection, metadata, plan, self.plan.homes)
            at(f"keys of table {name}")
            staging.count(connection, self.stage.token, name, rows)


def _beyond_the_server(metadata: Metadata, tables: Sequence[Table]) -> Metadata:
    """The metadata with those constraints alone that the server will not enforce for certain."""
    enforced = {table.name: enforceable_foreign_keys(metadata, table) for table in tables}
    left = []
    for table in metadata.tables:
        columns = {frozenset(zip(key.columns, key.parent_columns, strict=True)) for key in enforced.get(table.name, ())}
        left.append(
            dataclasses.replace(
                table,
                primary_key=(),
                uniques=(),
                columns=tuple(dataclasses.replace(column, nullable=True) for column in table.columns),
                foreign_keys=tuple(
                    key
                    for key in table.foreign_keys
                    if key.orphans is Orphans.REPAIR
                    and frozenset(zip(key.columns, key.parent_columns, strict=True)) not in columns
                ),
            )
        )
    return Metadata(tables=tuple(left))
