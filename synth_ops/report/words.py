"""What checks and their limits are called in front of people, and the way out where one blocks.

A check that is not listed here is shown under its own name, with its family's way out: a new one needs no entry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Evidence = Mapping[str, Any]

FAMILIES: Mapping[str, tuple[str, str]] = {
    "privacy": (
        "Does it give anyone away?",
        "What of real people could be seen in the copy, in counts and shares, on all rows where a line says no other.",
    ),
    "integrity": (
        "Do keys and constraints hold?",
        "Every key, reference and constraint of the source, counted over all rows of the copy.",
    ),
    "fidelity": (
        "Does it look like production?",
        "Distances between up to 100,000 rows of source and copy, and queries run on both; limits allow for noise.",
    ),
    "efficacy": (
        "Is it good for training?",
        "Models trained on the copy, tested on real rows that were held out, beside models trained on real rows.",
    ),
    "sdmetrics": ("What does SDMetrics say?", "Its own scores, 1 is best, on up to 10,000 rows of source and copy."),
    "suite": ("Do your own suites pass?", "Your Great Expectations suites, run on the copy."),
}
_OTHERS = ("What else was asked?", "Measured by a plug-in.")

_TITLES: Mapping[str, str] = {
    "integrity.row_count": "number of rows",
    "integrity.columns": "columns missing or in surplus",
    "integrity.not_null": "NULLs where none may be",
    "integrity.primary_key": "rows that repeat a primary key",
    "integrity.unique": "rows that repeat a unique key",
    "integrity.foreign_key": "references without a parent",
    "integrity.kept_orphans": "broken references, against the source's share",
    "integrity.check": "rows that break a CHECK",
    "integrity.type": "columns of another type",
    "fidelity.column_distance": "distance of a column's distribution",
    "fidelity.mean_column_distance": "mean distance of the columns",
    "fidelity.pair_distance": "distance of a pair of columns",
    "fidelity.mean_pair_distance": "mean distance of pairs of columns",
    "fidelity.cardinality": "likeness of children per parent",
    "fidelity.sibling_likeness": "how alike rows of one parent stay",
    "fidelity.c2st_auc": "how well a classifier tells copy from source",
    "fidelity.c2st_agg_auc": "how well one tells them by whole subjects",
    "fidelity.query_error": "error of row counts of queries",
    "fidelity.own_query_error": "error of row counts of your own queries",
    "fidelity.plan_shape": "queries that the server plans as it does in production",
    "fidelity.own_plan_shape": "your own query is planned as in production",
    "efficacy.score_ratio": "score after training on the copy, by that of training on real rows",
    "sdmetrics.quality": "SDMetrics' quality score",
    "sdmetrics.diagnostic": "SDMetrics' diagnostic score",
    "privacy.holdout_subjects": "subjects to compare with",
    "privacy.dcr_share": "rows nearer to subjects that were learned from than to others",
    "privacy.nndr_ratio": "how exactly rows hit one subject, against held-out ones",
    "privacy.membership_auc": "how well one tells who was learned from",
    "privacy.membership_tpr": "subjects that one tells were learned from, at 1% false alarms",
    "privacy.attribute_inference": "what the copy tells of a sensitive value, beyond what anyone could guess",
    "privacy.replicated_uniques": "unique people that are in the copy, beyond chance",
    "privacy.disclosed_attributes": "people whose value the copy tells rightly, beyond chance",
    "privacy.leaked_values": "real identifying values in the copy",
    "privacy.copied_values": "values that the source has, too",
    "privacy.value_overlap": "values of persons that the source has, too",
    "privacy.key_overlap": "keys that the source has, too",
    "privacy.rare_categories": "values that too few people share",
    "privacy.extremes": "values beyond what enough people reach",
    "privacy.identical_rows": "rows that equal a real one",
}

_TOO_NEAR = (
    "The model follows single people: make the generator coarser (`generator_settings`), or learn from more of them."
)
_WAYS_OUT: Mapping[str, str] = {
    "privacy.leaked_values": "Give the column `kind: pii` and a `provider` in the recipe, so that its values are made.",
    "privacy.value_overlap": "Give the columns that name people `kind: pii` and a `provider` in the recipe.",
    "privacy.key_overlap": "Where these keys mean people, give the column `kind: id` in the recipe.",
    "privacy.rare_categories": "Give the column `kind: text` or `pii` in the recipe, so that its values are made.",
    "privacy.extremes": "Look at the column's kind in `synth-ops plan`; `kind: id` or `text` makes its values instead.",
    "privacy.identical_rows": "Say whose rows these are (`subject: true`), and give what tells them apart `kind: pii`.",
    "privacy.holdout_subjects": "Too few people to tell: more data, or the policy `off-for-privacy` with a reason.",
    "privacy.dcr_share": _TOO_NEAR,
    "privacy.nndr_ratio": _TOO_NEAR,
    "privacy.membership_auc": _TOO_NEAR,
    "privacy.membership_tpr": _TOO_NEAR,
    "privacy.attribute_inference": "Give the sensitive column, or what it follows from, `kind: text` or `pii`.",
    "privacy.replicated_uniques": "Give one of the quasi-identifiers `kind: pii`, or make the generator coarser.",
    "privacy.disclosed_attributes": "Give one of the quasi-identifiers `kind: pii`, or make the generator coarser.",
    "integrity.row_count": "A table of another size than the recipe's `scale` asks for: look at its parents first.",
    "integrity.kept_orphans": "Say `orphans: repair` for this reference in the recipe, so that every one holds.",
}
_FAMILY_WAYS_OUT: Mapping[str, str] = {
    "integrity": "Look at keys and kinds in `synth-ops plan`; a constraint that is not meant is edited in its suite.",
    "fidelity": "Look at the table's columns below and at their kinds in `synth-ops plan`, or try another `--seed`.",
    "privacy": "Look at the column's kind in `synth-ops plan`; what identifies people is made when it is `kind: pii`.",
    "efficacy": "Look at the table's columns below; a target column needs its kind right in `synth-ops plan`.",
    "suite": "Your own suite asks for this: change the suite, or what it found in the copy.",
}
_BASES: Mapping[str, str] = {
    "audit": "on a copy by a model that saw half of the subjects, against these and the others",
    "source": "on the snapshot, against an earlier one",
}
_OF_A_COPY: Mapping[str, float] = {
    "privacy.identical_rows": 1.0,
    "privacy.dcr_share": 1.0,
    "privacy.nndr_ratio": 0.0,
    "privacy.membership_auc": 1.0,
    "privacy.membership_tpr": 1.0,
    "privacy.attribute_inference": 1.0,
}
"""What a copy would give that consists of the very rows it was learned from."""
_NOT_MEASURED = "What can't be measured does not pass: run `synth-ops gate` again; if it stays, the log says where."
_MANY, _SMALL = 10_000, 1e-4


def family_words(name: str) -> tuple[str, str]:
    """A family's question, and what its numbers rest on."""
    return FAMILIES.get(name, _OTHERS)


def title(check: str) -> str:
    """What a check measures, in plain words.

    >>> title("privacy.identical_rows"), title("privacy.some_new_one"), title("mine")
    ('rows that equal a real one', 'some new one', 'mine')
    """
    return _TITLES.get(check, check.partition(".")[2].replace("_", " ") or check)


def way_out(evidence: Evidence) -> str:
    """What to do about a number that does not pass."""
    check = evidence["check"]
    if not math.isfinite(float(evidence["value"])):
        return _NOT_MEASURED
    return _WAYS_OUT.get(check) or _FAMILY_WAYS_OUT.get(check.partition(".")[0], "Look at what the check measures.")


def number(value: float | str | None) -> str:
    """A number for people.

    >>> number(1234567.0), number(0.123456), number(0.0000178), number("nan"), number(None)
    ('1,234,567', '0.123', '0.0000178', 'not measured', 'none')
    """
    if value is None:
        return "none"
    value = float(value)
    if not math.isfinite(value):
        return "not measured"
    if value == int(value):
        return f"{value:,.0f}"
    if abs(value) >= _MANY:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= _SMALL else f"{value:.7f}".rstrip("0").rstrip(".-") or "0"


def percent(share: float | None) -> str:
    """A share for people.

    >>> percent(0.1234), percent(None)
    ('12.3%', 'no rows')
    """
    return "no rows" if share is None else f"{share:.1%}"


def limit(evidence: Evidence) -> str:
    """The limits in words.

    >>> limit({"minimum": 1, "maximum": 3}), limit({"minimum": None, "maximum": 0.0})
    ('1 to 3', 'none allowed')
    """
    low, high = evidence["minimum"], evidence["maximum"]
    if low is not None and high is not None:
        return f"{number(low)} to {number(high)}"
    if low is not None:
        return f"at least {number(low)}"
    if high is None:
        return "no limit"
    return f"at most {number(high)}" if float(high) else "none allowed"


def limits(evidence: Evidence, softer: Evidence | None) -> str:
    """The limits in words, where there may be one to warn and one to block.

    >>> limits({"value": 0.1, "minimum": None, "maximum": 0.2}, {"minimum": None, "maximum": 0.1})
    'at most 0.1; at most 0.2 or it blocks'
    """
    if not math.isfinite(float(evidence["value"])):
        return "has to be measured"
    block = limit(evidence)
    return f"{limit(softer)}; {block} or it blocks" if softer and limit(softer) != block else block


def basis(name: str) -> str:
    """Which data a number comes from, where it is not the copy and the whole snapshot."""
    return _BASES.get(name, "")


def between(evidence: Evidence) -> str:
    """What other real people would give, and what those would who were learned from.

    >>> between({"check": "privacy.dcr_share", "reference": 0.5})
    'other real people would give 0.5, those learned from 1'
    >>> between({"check": "integrity.unique", "reference": None})
    ''
    """
    fresh, copied = evidence.get("reference"), _OF_A_COPY.get(evidence["check"])
    if fresh is None or copied is None:
        return ""
    return f"other real people would give {number(fresh)}, those learned from {number(copied)}"


def interval(evidence: Evidence) -> str:
    """The 95 % confidence interval in words; empty where there is none.

    >>> interval({"ci_low": 0.5, "ci_high": 0.75})
    '0.5 to 0.75'
    """
    low, high = evidence.get("ci_low"), evidence.get("ci_high")
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"
