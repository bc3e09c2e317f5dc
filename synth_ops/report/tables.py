"""A report's tables, arranged for the page: keys, columns, pairs and children, those with most to see first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth_ops.report import plots, words
from synth_ops.report.findings import ORDER, Document, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column's card."""

    name: str
    about: str
    distance: str
    real: str
    copy: str
    low: str
    high: str
    bars: Sequence[tuple[str, str, str, float, float]]
    note: str
    nulls: str
    summary: str

    @property
    def drawn(self) -> bool:
        """Whether there is a plot."""
        return bool(self.real or self.bars)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """The associations of a table's columns."""

    columns: Sequence[str]
    cells: Sequence[tuple[int, str]]
    worst: Sequence[tuple[str, str, str, str]]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePart:
    """One table."""

    name: str
    anchor: str
    rows_real: int
    rows_copy: int | None
    subject: bool
    keys: Sequence[tuple[str, str, str]]
    columns: Sequence[Column]
    heat_map: HeatMap | None
    cardinalities: Sequence[Column]
    findings: Sequence[Finding]
    passed_exactly: int
    farthest: Finding | None

    @property
    def status(self) -> str:
        """The worst of its findings."""
        states = {finding.status for finding in self.findings}
        return next((state for state in ("blocks", "warning") if state in states), "passed")


def tables(document: Document, every: Sequence[Finding]) -> list[TablePart]:
    """The tables, those with most to see first."""
    names = [table["name"] for table in document["tables"]]
    by_table: dict[str, list[Finding]] = defaultdict(list)
    for finding in every:
        by_table[finding.table or table_of(finding.subject, names)].append(finding)
    parts = [_table(table, number, by_table[table["name"]]) for number, table in enumerate(document["tables"])]
    return sorted(parts, key=lambda part: (ORDER[part.status], -sum(c.drawn for c in part.columns), part.name))


def table_of(subject: str, names: Sequence[str]) -> str:
    """The table that a subject is about: the longest name that it begins with; empty for none.

    >>> table_of("order.lines(id)", ["order", "order.lines"])
    'order.lines'
    """
    fitting = [name for name in names if subject == name or subject.startswith((f"{name}.", f"{name}(", f"{name}:"))]
    return max(fitting, key=len, default="")


def _table(table: Mapping[str, Any], number: int, own: Sequence[Finding]) -> TablePart:
    by_subject = {(finding.check, finding.subject): finding for finding in own}
    distances = {f.subject: f for f in own if f.check == "fidelity.column_distance"}
    columns = [_column(column, distances.get(f"{table['name']}.{column['name']}")) for column in table["columns"]]
    shown = [finding for finding in own if finding.status != "passed" or not finding.exact]
    return TablePart(
        name=table["name"],
        anchor=f"table-{number}",
        rows_real=table["rows"]["source"],
        rows_copy=table["rows"]["copy"],
        subject=table["subject"],
        keys=_keys(table, by_subject),
        columns=columns,
        heat_map=_heat_map(table["associations"]),
        cardinalities=[_cardinality(table["name"], each, by_subject) for each in table["cardinalities"]],
        findings=shown,
        passed_exactly=len(own) - len(shown),
        farthest=next((finding for finding in shown if not finding.exact), None),
    )


def _keys(table: Mapping[str, Any], own: Mapping[tuple[str, str], Finding]) -> list[tuple[str, str, str]]:
    """What each key is, its columns, and what was found."""
    name = table["name"]
    keys = [("primary key", "integrity.primary_key", table["primary_key"])] if table["primary_key"] else []
    keys += [("unique", "integrity.unique", columns) for columns in table["unique"]]
    listed = [
        (kind, ", ".join(columns), own.get((check, f"{name}({', '.join(columns)})"))) for kind, check, columns in keys
    ]
    for key in table["foreign_keys"]:
        subject = f"{name}({', '.join(key['columns'])}) -> {key['parent']}"
        found = own.get(("integrity.foreign_key", subject)) or own.get(("integrity.kept_orphans", subject))
        listed.append(("reference", f"{', '.join(key['columns'])} \u2192 {key['parent']}", found))
    return [(kind, columns, _outcome(found)) for kind, columns, found in listed]


def _outcome(found: Finding | None) -> str:
    if found is None:
        return "not measured by itself"
    if found.detail:
        return found.detail
    return (
        f"holds in all {found.n:,} rows"
        if found.status == "passed"
        else f"{found.value} violations in {found.n:,} rows"
    )


def _column(column: Mapping[str, Any], distance: Finding | None) -> Column:
    nulls = column["nulls"]
    shown = nulls["source"] or nulls["copy"]
    histogram, categories = column.get("histogram"), column.get("categories", [])
    real = copied = ""
    if histogram:
        edges = histogram["edges"]
        peak = max(*plots.densities(edges, histogram["source"]), *plots.densities(edges, histogram["copy"]), 1e-9)
        real = plots.outline(edges, histogram["source"], peak, closed=True)
        copied = plots.outline(edges, histogram["copy"], peak, closed=False)
    summary = f"{column['name']}, real and copy"
    if histogram:
        summary += f", from {histogram['low']} to {histogram['high']}"
    if distance:
        summary += f"; distance {distance.value}"
    return Column(
        name=column["name"],
        about=f"{column['kind']} · {column['type']}",
        distance=distance.value if distance else "",
        real=real,
        copy=copied,
        low=histogram["low"] if histogram else "",
        high=histogram["high"] if histogram else "",
        bars=_bars([(each["label"], each["source"], each["copy"]) for each in categories]),
        note=f"Not shown: {column['not_shown']}." if "not_shown" in column else "",
        nulls=f"empty: {words.percent(nulls['source'])} real, {words.percent(nulls['copy'])} copy" if shown else "",
        summary=summary,
    )


def _cardinality(table: str, found: Mapping[str, Any], own: Mapping[tuple[str, str], Finding]) -> Column:
    columns = ", ".join(found["columns"])
    likeness = own.get(("fidelity.cardinality", f"{table}({columns}) -> {found['parent']}"))
    return Column(
        name=f"{table} per {found['parent']}",
        about=f"rows of {table} that a row of {found['parent']} has, by {columns}",
        distance="",
        real="",
        copy="",
        low="",
        high="",
        bars=_bars(
            [bar for bar in zip(found["children"], found["source"], found["copy"], strict=True) if any(bar[1:])]
        ),
        note="",
        nulls=f"likeness {likeness.value}, {likeness.limit}" if likeness else "",
        summary=f"Rows of {table} per {found['parent']}, real and copy",
    )


def _bars(named: Sequence[tuple[str, float, float]]) -> list[tuple[str, str, str, float, float]]:
    """Label, both shares in words, both lengths in percent of the longest."""
    peak = max((max(real, copied) for _, real, copied in named), default=0.0) or 1.0
    return [
        (label, words.percent(real), words.percent(copied), round(100 * real / peak, 1), round(100 * copied / peak, 1))
        for label, real, copied in named
    ]


def _heat_map(found: Mapping[str, Any] | None) -> HeatMap | None:
    if not found:
        return None
    real, copied, names = found["source"], found["copy"], found["columns"]
    pairs = [(i, j) for i in range(len(names)) for j in range(i)]
    worst = sorted(pairs, key=lambda pair: -abs(real[pair[0]][pair[1]] - copied[pair[0]][pair[1]]))[:3]
    return HeatMap(
        columns=names,
        cells=plots.heat_map(real, copied),
        worst=[(names[j], names[i], f"{real[i][j]:.2f}", f"{copied[i][j]:.2f}") for i, j in worst],
        left_out=found["left_out"],
    )
