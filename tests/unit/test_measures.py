"""The benchmark's measures: fresh real data must read as such, copied data as copied, and spoilt data as spoilt."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

_FILE = Path(__file__).resolve().parent.parent / "benchmarks" / "measures.py"


@pytest.fixture(scope="module")
def measures():
    spec = importlib.util.spec_from_file_location("synth_ops_benchmark_measures", _FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def people(seed, count=1_200, first=0):
    random = np.random.default_rng(seed)
    age = random.integers(18, 90, count)
    frame = pd.DataFrame(
        {
            "age": age,
            "income": np.where(random.random(count) < 0.1, np.nan, age * 3.0 + random.normal(0, 5, count)),
            "city": random.choice(["Ulm", "Bonn", "Jena"], count, p=[0.6, 0.3, 0.1]),
            "member": random.random(count) < 0.5,
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 900, count), unit="D"),
        }
    )
    return frame.set_axis(np.arange(first, first + count))


def family(measures, seed, count=400, first=0):
    random = np.random.default_rng(seed + 100)
    parents = people(seed, count, first)
    keys = pd.Series(np.repeat(parents.index, random.integers(0, 6, count)))
    level = parents["age"].reindex(keys).to_numpy()
    children = pd.DataFrame(
        {
            "day": np.arange(len(keys)),
            "amount": level + random.normal(0, 8, len(keys)).round(3),
            "what": random.choice(["x", "y"], len(keys)),
        }
    )
    return measures.Family(parents=parents, children=children, keys=keys, order=("day",))


def test_a_classifier_can_not_tell_fresh_data_but_does_tell_shuffled_columns(measures):
    real, fresh = people(1), people(2)
    shuffled = fresh.assign(income=fresh["income"].sample(frac=1, random_state=0).to_numpy())
    assert measures.separation(real, fresh).auc == pytest.approx(0.5, abs=0.04)
    found = measures.separation(real, shuffled)
    assert found.auc > 0.8
    assert set(found.telltales[:2]) == {"age", "income"}
    assert found == measures.separation(real, shuffled)


def test_rows_of_one_subject_stay_in_one_fold(measures):
    """Rows that name their subject give sides away only to a classifier that saw other rows of the same one."""
    random = np.random.default_rng(0)
    sides = [pd.DataFrame({"mark": np.repeat(random.random(150), 10)}) for _ in range(2)]
    groups = pd.Series(np.repeat(np.arange(150), 10))
    assert measures.separation(*sides).auc > 0.9
    assert measures.separation(*sides, real_groups=groups, other_groups=groups).auc < 0.65


def test_the_nearest_row_is_the_one_that_a_full_search_finds(measures):
    (points, others), categories = measures.places(people(1, 60), people(2, 80))
    gaps = np.abs(points[:, None] - others[None])
    gaps[..., categories] = 0.5 * (gaps[..., categories] > 0)
    np.testing.assert_allclose(measures.nearest(points, others, categories), gaps.sum(axis=2).min(axis=1), atol=1e-5)


def test_fresh_people_are_as_near_to_train_as_to_a_holdout_and_copied_ones_nearer(measures):
    train, holdout, fresh = people(1), people(2), people(3)
    share = measures.closer_to_train(fresh, train, holdout)
    assert share.low <= 0.5 <= share.high
    assert measures.closer_to_train(train, train, holdout).value > 0.98
    by_subject = measures.closer_to_train(fresh, train, holdout, groups=pd.Series(np.arange(1_200) // 4))
    assert by_subject.n == 300
    assert by_subject.value == share.value


def test_attacks_find_copied_subjects_and_no_fresh_ones(measures):
    train, holdout = family(measures, 1, first=0), family(measures, 2, first=10_000)
    fresh, noisy = family(measures, 3, first=20_000), train.children.assign(amount=train.children["amount"] + 0.01)
    copied = measures.Family(parents=train.parents, children=noisy, keys=train.keys, order=train.order)
    assert max(each.auc.value for each in measures.attacks_on_subjects(train, holdout, copied)) > 0.95
    assert max(each.tpr.value for each in measures.attacks_on_subjects(train, holdout, copied)) > 0.5
    everyone = [
        each
        for each in measures.attacks_on_subjects(train, holdout, fresh)
        if not each.name.endswith(measures.ISOLATED)
    ]
    assert all(each.auc.low <= 0.55 for each in everyone)


def test_rows_that_were_copied_are_found_and_fresh_ones_are_not(measures):
    train, holdout, fresh = people(1), people(2), people(3)
    assert max(each.auc.value for each in measures.attacks_on_rows(train, holdout, train)) > 0.9
    everyone = [each for each in measures.attacks_on_rows(train, holdout, fresh) if measures.ISOLATED not in each.name]
    assert all(each.auc.low <= 0.55 for each in everyone)


def test_rates_of_scores(measures):
    scores = np.arange(100.0)
    assert measures.area_under_curve(scores, scores) == 0.5
    assert measures.area_under_curve(scores + 100, scores) == 1.0
    assert measures.true_positive_rate(scores, scores) == pytest.approx(0.01)
    assert measures.true_positive_rate(scores + 100, scores) == 1.0
    assert measures.true_positive_rate(np.zeros(50), np.zeros(50)) == pytest.approx(0.01)


def test_cardinality_counts_parents_without_children(measures):
    keys = pd.Series([0, 0, 1])
    child = pd.DataFrame({"what": ["x", "y", "x"]})
    few = measures.Family(parents=people(0, 2), children=child, keys=keys)
    many = measures.Family(parents=people(0, 4), children=child, keys=keys)
    assert measures.child_counts(many).tolist() == [2, 1, 0, 0]
    assert measures.cardinality_similarity(few, few) == 1.0
    assert measures.cardinality_similarity(few, many) == pytest.approx(0.5)


def test_aggregates_and_pairs_follow_the_parent_and_the_order(measures):
    child = pd.DataFrame({"day": [3, 1, 2, 1], "what": ["x", "y", "x", "z"]})
    one = measures.Family(parents=people(0, 3), children=child, keys=pd.Series([0, 0, 0, 2]), order=("day",))
    found = measures.aggregates(one)
    assert found["children"].tolist() == [3, 0, 1]
    assert found.loc[0, ["day_mean", "day_min", "day_max", "what_nunique"]].tolist() == [2, 1, 3, 2]
    assert found.loc[1, ["day_mean", "what_nunique"]].isna().all()
    pairs, keys = measures.with_previous(one)
    assert pairs[["day_before", "day"]].to_numpy().tolist() == [[1, 2], [2, 3]]
    assert keys.tolist() == [0, 0]


def test_aggregates_of_children_that_have_nothing_but_keys(measures):
    bare = measures.Family(parents=people(0, 3), children=pd.DataFrame(index=range(2)), keys=pd.Series([0, 0]))
    assert measures.aggregates(bare)["children"].tolist() == [2, 0, 0]


def test_a_model_from_spoilt_data_is_worth_less(measures):
    random = np.random.default_rng(0)
    train, test = (people(seed).assign(rich=lambda frame: frame["age"] > 60) for seed in (1, 2))
    assert measures.efficacy(train, test, "rich") > 0.98
    assert measures.efficacy(train.assign(rich=random.permutation(train["rich"])), test, "rich") < 0.8
