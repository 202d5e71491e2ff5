from collections import Counter
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsim.data.design import Layout, cover, plan
from vidsim.errors import VidsimError


def ids_for(n: int) -> list[str]:
    return [f"s{i}" for i in range(n)]


def check_plan(rows, n: int, layout: Layout, seed: int) -> None:
    table = plan(rows, ids_for(n), layout, seed)
    assert table.column_names == ["set", "participant", "trial", "stim1", "stim2", "stim3", "catch"]
    trials = table.to_pylist()
    cost = layout.cost(len(rows))
    real = [trial for trial in trials if not trial["catch"]]
    catch = [trial for trial in trials if trial["catch"]]
    assert (len(real), len(catch)) == (cost.trials, cost.catch_trials)
    assert {trial["set"] for trial in trials} == set(range(1, cost.sets + 1))
    assert {trial["participant"] for trial in trials} == set(range(1, cost.participants + 1))

    def shown(trial) -> frozenset:
        return frozenset((trial["stim1"], trial["stim2"], trial["stim3"]))

    expected = {frozenset(f"s{i}" for i in row): layout.repeats for row in rows.tolist()}
    assert Counter(map(shown, real)) == expected
    assert max(Counter((trial["participant"], shown(trial)) for trial in real).values()) == 1

    owner = {}
    for number in range(1, cost.sets + 1):
        members = [trial for trial in trials if trial["set"] == number]
        assert [trial["trial"] for trial in members] == list(range(1, len(members) + 1))
        (owner[number],) = {trial["participant"] for trial in members}
        assert sum(trial["catch"] for trial in members) == layout.catch
        assert 1 <= sum(not trial["catch"] for trial in members) <= layout.set_size
    assert max(Counter(owner.values()).values()) <= layout.sets_per_participant

    for i in range(n):
        places = [sum(trial[f"stim{place}"] == f"s{i}" for trial in real) for place in (1, 2, 3)]
        assert max(places) - min(places) <= 1

    lone = []
    doubled, combined = Counter(), Counter()
    for trial in catch:
        counts = Counter((trial["stim1"], trial["stim2"], trial["stim3"]))
        assert sorted(counts.values()) == [1, 2]
        (single,) = (name for name, count in counts.items() if count == 1)
        lone.append(next(place for place in (1, 2, 3) if trial[f"stim{place}"] == single))
        double = max(counts, key=counts.__getitem__)
        doubled[trial["set"], double] += 1
        combined[double, single] += 1
    assert max(doubled.values(), default=1) == 1
    assert max(combined.values(), default=0) == ceil(len(catch) / (n * (n - 1)))
    tally = [lone.count(place) for place in (1, 2, 3)]
    assert max(tally) - min(tally) <= 1
    per_stimulus = Counter(name for (_, name), count in doubled.items() for _ in range(count))
    assert len(catch) < n or max(per_stimulus.values()) - min(per_stimulus.values()) <= 1


@settings(max_examples=60, deadline=None)
@given(
    st.integers(3, 12),
    st.builds(Layout, st.integers(1, 5), st.integers(0, 3), st.integers(1, 9), st.integers(1, 4)),
    st.integers(0, 2**32),
)
def test_a_plan_keeps_every_promise(n, layout, seed):
    check_plan(cover(n, seed), n, layout, seed)


def test_a_plan_of_fifty_stimuli():
    check_plan(cover(50), 50, Layout(repeats=2, catch=2), seed=4)


def test_the_fewest_people_who_can_do_it_are_asked():
    # 10,417 trials three times are 142.05 times 220: the unfinished share of one repeat is filled from the next
    assert Layout(repeats=3).cost(10_417).participants == 143
    # with fewer triplets than one participant could take, each repeat needs somebody else
    assert Layout(repeats=3).cost(17).participants == 3


def test_the_papers_experiment():
    cost = Layout(catch=1).cost(10_780)
    assert (cost.participants, cost.sets, cost.trials, cost.catch_trials) == (49, 539, 10_780, 539)


def test_the_seed_decides():
    rows, layout = cover(20), Layout(repeats=2, catch=1)
    assert plan(rows, ids_for(20), layout, 5).equals(plan(rows, ids_for(20), layout, 5))
    assert not plan(rows, ids_for(20), layout, 5).equals(plan(rows, ids_for(20), layout, 6))


def test_catch_trials_stand_anywhere_in_a_set():
    table = plan(cover(60), ids_for(60), Layout(catch=1, set_size=4, sets_per_participant=2))
    where = np.bincount(np.array(table["trial"])[np.array(table["catch"])], minlength=6)
    assert where[0] == 0
    assert where[1:].min() > 0.5 * where.sum() / 5


def test_a_triplet_shown_again_is_turned():
    table = plan(cover(9), ids_for(9), Layout(repeats=3))
    orders = Counter()
    for trial in table.to_pylist():
        orders[trial["stim1"], trial["stim2"], trial["stim3"]] += 1
    assert set(orders.values()) == {1}
    assert all(orders[b, c, a] == orders[c, a, b] == 1 for a, b, c in orders)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Layout(set_size=0), "set_size 0: expected 1 or more"),
        (lambda: Layout(repeats=0), "repeats 0: expected 1 or more"),
        (lambda: Layout(catch=-1), "catch -1: expected 0 or more"),
        (lambda: plan(cover(5), ids_for(5), Layout(catch=6)), "6 catch trials per set need as many stimuli to double"),
        (lambda: plan(cover(5), ids_for(5), Layout(repeats=10**7)), "the plan would have 40,000,000 trials"),
        (lambda: plan(cover(5)[:0], ids_for(5), Layout()), "no triplets were given"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(call, message):
    with pytest.raises(VidsimError, match=message):
        call()


def test_a_seed_below_0_is_refused():
    with pytest.raises(VidsimError, match="seed -1: expected 0 or more"):
        plan(cover(9), [f"s{i}" for i in range(9)], Layout(), -1)
