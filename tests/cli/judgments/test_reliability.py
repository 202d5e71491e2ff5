import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from vidsim.analysis.agreement import agreement
from vidsim.analysis.reliability import reliability, restrict_people
from vidsim.cli.judgments.source import load_split
from vidsim.data.judgments.judgments import Judgments
from vidsim.data.judgments.read import read
from vidsim.store import Store
from vidsim.triplets import Triplets

from judges import random_rows, write_csv

KEYS = {
    "protocol",
    "method",
    "context",
    "splits",
    "undefined",
    "trials",
    "left_out",
    "pairs",
    "r",
    "spearman_brown",
    "spearman_brown_squared",
    "expected_rho_of_perfect_model",
    "interval",
    "split_interval",
    "resamples",
    "agreement",
    "seconds",
}


@pytest.fixture
def root(tmp_path):
    """Return a store with judgments by three people and somebody unknown."""
    trials = Triplets(tuple(f"clip {k}" for k in range(8)), random_rows(8, 200))
    people = [None if k % 10 == 0 else f"p{k % 3}" for k in range(200)]
    judgments = Judgments.of(trials)
    named = judgments.details.set_column(1, "participant", pa.array(people, pa.string()))
    Store(tmp_path / "root", create=True).judgments.put("lab", replace(judgments, details=named).table())
    return tmp_path / "root"


def ask(vidsim, *arguments):
    status, out, err = vidsim("judgments", "reliability", *arguments, "--json")
    assert (status, err) == (0, "")
    assert out.count("\n") == 1
    return json.loads(out)


def refused(vidsim, *arguments):
    status, out, err = vidsim("judgments", "reliability", *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    return err


def test_json_is_what_the_library_finds(vidsim, root):
    answer = ask(vidsim, "lab", "--root", root, "--splits", 50, "--resamples", 20, "--seed", 3)
    assert answer.keys() == KEYS
    judgments, _ = load_split("lab", str(root), None)
    found = reliability(judgments.triplets, splits=50, resamples=20, seed=3)
    agreed = agreement(judgments.triplets, judgments.participants[1], resamples=20, seed=3)
    assert (answer["r"], answer["interval"]) == (found.r, list(found.interval))
    assert answer["agreement"]["agreement"] == agreed.agreement
    assert answer["agreement"]["pairs_within"] == agreed.pairs_within > 0


def test_people_and_votes(vidsim, root):
    answer = ask(vidsim, "lab", "--root", root, "--by", "participants", "--splits", 20, "--resamples", 0)
    assert (answer["method"], answer["left_out"], answer["trials"]) == ("participants", 20, 180)
    assert answer["interval"] == [None, None]
    answer = ask(vidsim, "lab", "--root", root, "--protocol", "paper", "--splits", 20, "--resamples", 0)
    assert (answer["protocol"], answer["method"], answer["pairs"]) == ("paper", "votes", 28)


def test_text_for_people(vidsim, root):
    status, out, err = vidsim(
        "judgments", "reliability", "lab", "--root", root, "--by", "participants", "--splits", 20, "--resamples", 20
    )
    assert status == 0
    assert "reliability r_SB (Spearman-Brown)" in out
    assert "Compare a model's rho squared with r_SB, not with its square" in out
    assert "20 random halves of participants, 180 trials" in out
    assert err == "20 trials name no participant and were left out\n"


def test_a_split_of_the_training_judgments(vidsim, shared):
    source = shared / "data" / "social-ooo"
    within = ask(vidsim, source, "--split", "val", "--splits", 20, "--resamples", 0)
    around = ask(vidsim, source, "--split", "val", "--context", "any", "--splits", 20, "--resamples", 0)
    assert (within["trials"], within["context"]) == (175, "split")
    assert around["trials"] > 10 * within["trials"]
    assert around["agreement"] == within["agreement"]
    people = ask(
        vidsim, source, "--split", "val", "--context", "any", "--by", "participants", "--splits", 20, "--resamples", 0
    )
    assert people["trials"] == around["trials"]
    judgments = read(source).judgments
    _, ids = load_split(str(source), "unused", "val")
    triplets, who = restrict_people(judgments.triplets, judgments.participants[1][~judgments.catch], ids)
    found = reliability(triplets, method="participants", participants=who, context="any", splits=20, resamples=0)
    assert people["r"] == found.r


def test_problems_are_one_line(vidsim, root):
    assert "--by participants belongs to the default protocol" in refused(
        vidsim, "lab", "--root", root, "--protocol", "paper", "--by", "participants"
    )
    once = Judgments.of(Triplets(tuple("abcd"), np.array([[0, 1, 2], [1, 2, 3]], np.int32)))
    Store(root).judgments.put("once", once.table())
    assert "1 of 5 judged pairs were judged more than once" in refused(vidsim, "once", "--root", root)
    assert "says nothing about its stimuli" in refused(vidsim, "lab", "--root", root, "--split", "train")
    assert "--splits" in refused(vidsim, "lab", "--root", root, "--splits", 0)
    assert "did you mean 'lab'" in refused(vidsim, "laab", "--root", root)
    alone = Judgments.of(Triplets(tuple("abcd"), random_rows(4, 30)), ["one"] * 30)
    Store(root).judgments.put("alone", alone.table())
    assert "needs at least 2" in refused(vidsim, "alone", "--root", root, "--by", "participants")


def test_of_one_triplet_there_is_no_interval(vidsim, tmp_path):
    table = write_csv(tmp_path / "four.csv", ["stim1", "stim2", "stim3", "choice"], ["abca", "abcb", "bcaa", "caba"])
    found = ask(vidsim, table)
    assert found["interval"] == found["agreement"]["interval"] == [None, None]
    status, out, _ = vidsim("judgments", "reliability", table)
    lines = {" ".join(line.split()) for line in out.splitlines()}
    assert status == 0
    assert {"reliability r_SB (Spearman-Brown) 0.667 -", "agreement between people, chance 0.333 0.500 -"} <= lines


def test_where_halves_have_no_correlation(vidsim, root):
    # three pairs that are judged twice, always alike: every half is constant or empty
    rows = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]] * 2, np.int32)
    Store(root).judgments.put("even", Judgments.of(Triplets(("a", "b", "c"), rows)).table())
    status, out, err = vidsim("judgments", "reliability", "even", "--root", root, "--splits", 30, "--resamples", 5)
    assert status == 0
    assert "splits gave no correlation" in err
    assert "rho expected of a perfect model" in out
    json.dumps(ask(vidsim, "even", "--root", root, "--splits", 30, "--resamples", 5), allow_nan=False)
