import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import chisquare

from vidsim.analysis.exclusion import exclude
from vidsim.analysis.quality import plain, quality
from vidsim.data.judgments.judgments import DETAILS, Judgments
from vidsim.data.judgments.read import read
from vidsim.errors import VidsimError


@pytest.fixture(scope="module")
def social(shared):
    return read(shared / "data" / "social-ooo").judgments


@pytest.fixture(scope="module")
def table(shared):
    """Read the released file with pandas; mark catch trials by structure."""
    table = pd.read_csv(shared / "data" / "social-ooo" / "data" / "interim" / "similarity" / "all_triplets.csv")
    shown = table[["stim1_name", "stim2_name", "stim3_name"]]
    table["different"] = shown.nunique(axis=1)
    table["lone"] = (shown.eq(table.choice, axis=0)).sum(axis=1) == 1
    table["place"] = shown.eq(table.choice, axis=0).to_numpy().argmax(axis=1) + 1
    table["key"] = [tuple(sorted(row)) for row in shown.to_numpy()]
    return table


def judgments(rows, people=None, times=None, places=None):
    t = len(rows)
    columns = {
        "position": pa.array(places or [None] * t, pa.int8()),
        "participant": pa.array(people or [None] * t, pa.string()),
        "session": pa.nulls(t, pa.string()),
        "trial": pa.nulls(t, pa.int64()),
        "response_time": pa.array(times or [None] * t, pa.float64()),
        "line": pa.array(range(1, t + 1)),
    }
    ids = tuple("abcdef")
    return Judgments(ids, np.array(rows, np.int32).reshape(-1, 3), pa.table(columns, schema=DETAILS), source_rows=t)


def test_the_training_judgments(social):
    facts = quality(social).facts()
    expected = {
        "rows": 25_623,
        "usable_rows": 25_623,
        "trials": 24_096,
        "catch_trials": 1_527,
        "catch_answered": 1_526,
        "participants": 215,
        "without_participant": 0,
        "stimuli": 200,
        "pairs_observed": 19_266,
        "pairs_total": 19_900,
        "repeated_triplets": 4_167,
    }
    assert {key: facts[key] for key in expected} == expected
    assert facts["judgments_per_pair"] == pytest.approx(3.752, abs=5e-4)
    histogram = dict(facts["judgments_per_pair_histogram"])
    assert sum(histogram.values()) == 19_900
    assert sum(k * pairs for k, pairs in histogram.items()) == 3 * 24_096
    assert histogram[0] == 634
    json.dumps(facts, allow_nan=False)


def test_pandas_counts_the_same(social, table):
    found = quality(social)
    real, catch = table[table.different == 3], table[table.different == 2]
    assert found.catch_correct == catch.lone.sum()
    assert found.catch_accuracy == pytest.approx(table.lone[table.different < 3].mean())
    places = real.place.value_counts().sort_index()
    assert found.position_bias.counts == tuple(places)
    assert found.position_bias.p == pytest.approx(chisquare(places).pvalue, rel=1e-9)
    times = table.response_time
    found_times = found.response_times
    assert (found_times.count, found_times.slow) == (len(times), (times > 60).sum())
    assert [found_times.minimum, found_times.percent_1, found_times.median, found_times.percent_99] == pytest.approx(
        times.quantile([0, 0.01, 0.5, 0.99]).tolist()
    )
    people = {p.name: p for p in found.per_participant}
    assert people.keys() == set(table.participation)
    medians = table.groupby("participation").response_time.median()
    trials = real.groupby("participation").size()
    tests = catch.groupby("participation").lone.agg(["size", "mean"])
    for name, person in people.items():
        assert person.trials == trials[name]
        assert person.response_time == pytest.approx(medians[name])
        assert person.catch_trials == (tests["size"].get(name, 0))
        assert person.catch_accuracy == pytest.approx(tests["mean"].get(name, np.nan), nan_ok=True)
    again = real.groupby(["participation", "key"]).size()
    assert found.agreement.pairs_within == (again * (again - 1) // 2).sum()


def test_unanswerable_and_failed_catch_trials_are_told_apart():
    # a stimulus twice and the lone one chosen; one of the two chosen; all three the same; a real trial
    found = quality(judgments([[0, 0, 1], [0, 1, 0], [2, 2, 2], [0, 1, 2]], ["x", "x", "y", "y"]))
    assert (found.catch_trials, found.catch_answered, found.catch_correct, found.catch_accuracy) == (3, 2, 1, 1 / 3)
    x, y = found.per_participant
    assert (x.catch_trials, x.catch_accuracy, x.trials) == (2, 0.5, 0)
    assert (y.catch_trials, y.trials) == (0, 1)
    assert np.isnan([y.catch_accuracy, y.response_time]).all()


def test_nothing_known_beside_the_trials():
    found = quality(judgments([[0, 1, 2], [3, 4, 5]]))
    assert (found.participants, found.per_participant, found.without_participant) == (0, (), 2)
    assert (found.stimuli, found.pairs_observed, found.pairs_total) == (6, 6, 15)
    assert found.position_bias.counts == (0, 0, 0)
    facts = found.facts()
    assert facts["catch_accuracy"] is facts["position_bias"]["p"] is facts["response_times"]["median"] is None
    json.dumps(facts, allow_nan=False)


def test_no_trial_at_all():
    found = quality(judgments([]))
    assert (found.rows, found.trials, found.pairs_total, found.stimuli) == (0, 0, 0, 0)
    assert found.facts()["judgments_per_pair"] is None


def test_plain_values():
    assert plain({"a": (1.0, float("nan")), 2: [float("inf"), "x", None]}) == {"a": [1.0, None], "2": [None, "x", None]}


TRIALS = [[0, 0, 1], [0, 1, 2], [0, 0, 1], [1, 0, 1], [3, 4, 5], [2, 1, 0], [0, 1, 2], [0, 1, 2]]
PEOPLE = ["good", "good", "half", "half", "half", "good", "new", None]
TIMES = [1.0, 0.1, 2.0, None, 3.0, 70.0, 60.0, 0.5]


def test_inattentive_people_go():
    found = exclude(judgments(TRIALS, PEOPLE), min_catch_accuracy=0.75)
    assert found.details["participant"].to_pylist() == ["good", "good", "good", "new", None]
    (rule,) = found.exclusions
    assert (rule.rule, rule.value, rule.rows, rule.participants) == ("min_catch_accuracy", 0.75, 3, ("half",))
    assert found.notes == ("min_catch_accuracy: 1 of 3 participants have no catch trial and were kept",)
    kept = exclude(judgments(TRIALS, PEOPLE), min_catch_accuracy=0.5)
    assert (len(kept), kept.exclusions[0].rows) == (8, 0)  # exactly at the threshold stays


def test_slow_and_fast_trials_go():
    found = exclude(judgments(TRIALS, PEOPLE, TIMES), rt_range=(0.5, 60.0))
    assert found.details["line"].to_pylist() == [1, 3, 4, 5, 7, 8]
    (rule,) = found.exclusions
    assert (rule.value, rule.rows, rule.participants) == ([0.5, 60.0], 2, ())
    assert found.notes == ("rt_range: 1 of 8 trials have no response time and were kept",)
    assert exclude(judgments(TRIALS, PEOPLE, TIMES), rt_range=(None, 2.0)).details["line"].to_pylist() == [
        1,
        2,
        3,
        4,
        8,
    ]
    only = exclude(judgments(TRIALS, PEOPLE, TIMES), rt_range=(60.0, None))
    assert only.details["line"].to_pylist() == [4, 6, 7]
    assert only.exclusions[0].participants == ()


def test_repeats_keep_the_first_of_each_person():
    found = exclude(judgments(TRIALS, PEOPLE), repeats="first")
    assert found.details["line"].to_pylist() == [1, 2, 3, 4, 5, 7, 8]
    assert found.exclusions[0].rows == 1
    assert len(exclude(judgments(TRIALS, PEOPLE), repeats="keep").exclusions) == 0


def test_repeats_of_the_training_judgments(social, table):
    found = exclude(social, repeats="first")
    real = table[table.different == 3]
    assert len(social) - len(found) == found.exclusions[0].rows == real.duplicated(["participation", "key"]).sum() > 0
    assert np.isnan(quality(found).agreement.within)


def test_rules_add_up_and_survive_the_store(social):
    found = exclude(social, min_catch_accuracy=0.9, rt_range=(0.2, 60.0), repeats="first")
    assert [rule.rule for rule in found.exclusions] == ["min_catch_accuracy", "rt_range", "repeats"]
    assert sum(rule.rows for rule in found.exclusions) == len(social) - len(found)
    back = Judgments.from_table(found.table())
    assert back.exclusions == found.exclusions
    assert quality(back).facts() == quality(found).facts()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"min_catch_accuracy": 80.0}, "min_catch_accuracy 80.0: expected a share from 0 to 1"),
        ({"min_catch_accuracy": float("nan")}, "expected a share"),
        ({"rt_range": (60.0, 0.5)}, r"rt_range \(60.0, 0.5\): expected seconds, low before high"),
        ({"rt_range": (None, None)}, "expected seconds"),
        ({"rt_range": (float("nan"), 3.0)}, "expected seconds"),
        ({"rt_range": (None, -1.0)}, "expected seconds"),
        ({"rt_range": (1e3, 2e3)}, "leaves none of 7 trials"),
        ({"repeats": "last"}, "repeats 'last': expected 'keep' or 'first'"),
    ],
)
def test_bad_rules(rule, message):
    known = judgments(TRIALS, PEOPLE, TIMES).select(np.array([0, 1, 2, 4, 5, 6, 7]))
    with pytest.raises(VidsimError, match=message):
        exclude(known, **rule)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"min_catch_accuracy": 0.8}, "needs participants, and these judgments name none"),
        ({"rt_range": (0.5, None)}, "needs response times, and these judgments have none"),
        ({"repeats": "first"}, "needs participants, and these judgments name none"),
    ],
)
def test_rules_that_need_what_is_not_known(rule, message):
    with pytest.raises(VidsimError, match=message):
        exclude(judgments(TRIALS), **rule)


def test_defects_and_notes_are_passed_on():
    found = quality(replace(judgments(TRIALS), notes=("a note",), source="here", order="odd-first"))
    assert (found.notes, found.source, found.order) == (("a note",), "here", "odd-first")
