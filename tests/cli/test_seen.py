import json
from dataclasses import replace

import numpy as np
import pytest
from tiny_adapters import BASE

from vidsim.adapt.folder import HEAD, WEIGHTS
from vidsim.adapt.manifest import Manifest, read_manifest
from vidsim.cli.seen import seen_in_training, warn_seen
from vidsim.data.judgments.judgments import Judgments
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.store import Entry, Store
from vidsim.triplets import Triplets

from judges import random_rows

IDS = tuple(f"clip {k}" for k in range(30))
FITTED, VALIDATED = IDS[:14], IDS[14:20]
LINE = "seen in training: mine {}; expect less of others\n"


def write_manifest(root, name, files=(WEIGHTS,), **data):
    folder = root / "adapters" / name
    folder.mkdir(parents=True)
    nothing = {"base": BASE, "recipe": {}, "versions": {}, "curve": [], "seed": 0, "parameters": 1, "head": 0}
    Manifest(name=name, layer="x", files=dict.fromkeys(files, ""), data=data, **nothing).write(folder)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return a store with judgments, an encoder, and an adapter that was fitted to part of the training stimuli."""
    root = tmp_path / "root"
    store = Store(root, create=True)
    store.judgments.put("lab", Judgments.of(Triplets(IDS, random_rows(30, 2500))).table())
    stimuli = [Stimulus(name, split="train" if k < 20 else "test") for k, name in enumerate(IDS)]
    store.stimuli.put("lab", StimulusSet(tuple(stimuli)).table())
    for number, name in enumerate(("net", "mine")):
        table = store.create(name, {"checkpoint": name}, {"x": 6}, default_layer="x", versions={})
        points = np.random.default_rng(number).normal(size=(30, 6)).astype(np.float32)
        table.write([Entry(n, f"/{n}", n) for n in IDS], {"x": points})
    write_manifest(root, "mine", fitted=FITTED, validated=VALIDATED)
    monkeypatch.setenv("VIDSIM_ROOT", str(root))
    return root


SPLITS = [
    ((), {"fitted": 14, "validated": 6}, "was fitted to 14 of these 30 stimuli, and its epoch chosen on 6"),
    (
        ("--split", "train"),
        {"fitted": 14, "validated": 6},
        "was fitted to 14 of these 20 stimuli, and its epoch chosen on 6",
    ),
    (("--split", "test"), {"fitted": 0, "validated": 0}, ""),
]


@pytest.mark.parametrize(("split", "seen", "told"), SPLITS)
def test_align_tells_which_stimuli_an_adapter_has_seen(split, seen, told, vidsim, root, tmp_path):
    options = ("align", "--judgments", "lab", "--resamples", 0, *split)
    page = tmp_path / "page.html"
    status, out, err = vidsim(*options, "--encoders", "net", "mine", "--json", "--html", page)
    assert (status, err) == (0, LINE.format(told) if told else "")
    found = {one["encoder"]: one["seen_in_training"] for one in json.loads(out)["encoders"]}
    assert found == {"net": None, "mine": seen}
    assert (told in page.read_text()) if told else ("seen in training" not in page.read_text().lower())
    assert vidsim(*options, "--encoders", "mine")[2] == err
    assert vidsim(*options, "--encoders", "mine:x")[2] == err
    assert vidsim(*options, "--encoders", "net")[2] == ""


@pytest.mark.parametrize(("split", "seen", "told"), SPLITS)
def test_compare_tells_it_too(split, seen, told, vidsim, root, tmp_path):
    page = tmp_path / "page.html"
    status, out, err = vidsim(
        "compare", "net", "mine", "--judgments", "lab", "--resamples", 0, *split, "--json", "--html", page
    )
    assert (status, err) == (0, LINE.format(told).replace("mine", "mine:x") if told else "")
    answer = json.loads(out)
    assert answer["seen_in_training"] == {"a": None, "b": seen}
    assert answer["stimuli"] == (30 if not split else 20 if "train" in split else 10)
    assert not told or told in page.read_text()


@pytest.mark.parametrize(("split", "seen", "told"), SPLITS)
def test_a_partition_tells_it_of_all_its_models(split, seen, told, vidsim, root):
    options = ("partition", "net", "mine", "--judgments", "lab", "--resamples", 0, *split, "--json")
    status, out, err = vidsim(*options)
    line = LINE.format(told).replace("mine", "mine:x") if told else ""
    assert (status, err) == (0, line)
    assert json.loads(out)["seen_in_training"] == {"net:x": None, "mine:x": seen}
    write_manifest(root, "other", fitted=IDS[:3])
    table = Store(root).create("other", {"checkpoint": "other"}, {"x": 6}, default_layer="x", versions={})
    points = np.random.default_rng(9).normal(size=(30, 6)).astype(np.float32)
    table.write([Entry(n, f"/{n}", n) for n in IDS], {"x": points})
    status, out, err = vidsim(*options, "--after", "other")
    after = {"fitted": 0 if "test" in split else 3, "validated": 0}
    assert json.loads(out)["seen_in_training"] == {"net:x": None, "mine:x": seen, "other:x": after}
    assert ("other:x was fitted to 3 of these" in err) == ("test" not in split)


def test_a_probe_tells_it_of_the_stimuli_that_it_predicts(vidsim, root, tmp_path):
    rated = tmp_path / "rated.csv"
    rated.write_text(
        "id,split,warmth\n" + "".join(f"{name},{'train' if k < 20 else 'test'},{k % 7}\n" for k, name in enumerate(IDS))
    )
    options = ("probe", "--stimuli", rated, "--encoders", "net", "mine", "--resamples", 0, "--json")
    for split, fitted, validated, told in (
        ("test", 0, 0, ""),
        ("train", 14, 6, "was fitted to 14 of these 20 stimuli, and its epoch chosen on 6"),
        ("all", 14, 6, "was fitted to 14 of these 30 stimuli, and its epoch chosen on 6"),
    ):
        status, out, err = vidsim(*options, "--split", split)
        assert (status, err) == (0, LINE.format(told).replace("mine", "mine:x") if told else "")
        seen = {space["space"]: space["seen_in_training"] for space in json.loads(out)["spaces"]}
        assert seen == {"net:x": None, "mine:x": {"fitted": fitted, "validated": validated}}


def test_a_warning_is_a_line_on_stderr(capsys):
    warn_seen([{"encoder": "net", "seen_in_training": None}], 30)
    assert capsys.readouterr() == ("", "")
    warn_seen([{"encoder": "mine\n", "seen_in_training": {"fitted": 3, "validated": 0}}], 30)
    assert capsys.readouterr() == ("", LINE.format("was fitted to 3 of these 30 stimuli").replace("mine", "mine\\n"))


def test_what_is_not_known_is_not_told(root):
    def asked(name, layer="x"):
        return seen_in_training(name, layer, IDS, str(root))

    write_manifest(root, "old")
    write_manifest(root, "flat", files=(HEAD,), fitted=FITTED, validated=VALIDATED)
    assert asked("mine") == {"fitted": 14, "validated": 6}
    assert [asked(name) for name in ("net", "old", "./mine.npz", "")] == [None] * 4
    # all layers of an adapter with a head alone but the head are those of its base
    assert (asked("flat"), asked("flat", "head")) == (None, {"fitted": 14, "validated": 6})
    (root / "adapters" / "mine" / "vidsim.json").write_text("{")
    assert asked("mine") is None
    assert seen_in_training("mine", "x", IDS, "s3://bucket/place") is None


def test_a_report_says_it_on_its_page(vidsim, root, tmp_path):
    page = tmp_path / "page.html"
    status, out, err = vidsim(
        *("report", "--judgments", "lab", "--encoders", "net", "mine", "--resamples", 0, "--out", page, "--json")
    )
    told = "mine was fitted to 14 of these 30 stimuli, and its epoch chosen on 6"
    assert status == 0
    assert f"seen in training: {told}; expect less of others\n" in err
    assert told in page.read_text()
    assert told in page.with_suffix(".md").read_text()
    assert json.loads(out)["align"]["encoders"][0].keys() >= {"seen_in_training"}


def test_nothing_was_chosen_without_epochs(root):
    folder = root / "adapters" / "mine"
    made = read_manifest(folder)
    assert seen_in_training("mine", "x", IDS, str(root)) == {"fitted": 14, "validated": 6}
    replace(made, curve=[{"epoch": 0}]).write(folder)
    assert seen_in_training("mine", "x", IDS, str(root)) == {"fitted": 14, "validated": 0}
