import json

import numpy as np
import pytest
from tiny_models import QWEN, write_qwen
from tiny_study import filmed, study

from vidsim.adapt.manifest import read_manifest
from vidsim.encoders import catalog
from vidsim.store import Store

from clips import moving_square, write_clip

__all__ = ["filmed", "study"]

RECIPE = f"""
encoder = "{QWEN}"
[adapter]
rank = 2
[loss]
kind = "soft"
retention = 0.1
retention_stimuli = 2
[batches]
sampler = "stimuli"
stimuli = 8
steps = 2
[optimiser]
learning_rate = 1e-2
epochs = 1
[run]
captions = "first"
validation = 0
"""


@pytest.mark.slow
def test_clips_and_their_captions_train_an_encoder_that_reads_both(vidsim, filmed, monkeypatch):
    made = write_qwen(filmed / "qwen")
    monkeypatch.setitem(catalog.CARDS, QWEN, made.card)
    for k in range(3):
        write_clip(filmed / "more" / f"grey {k}.mp4", moving_square(frames=9, step=1 + k, start=3))
    (filmed / "quick.toml").write_text(RECIPE)

    def done(*words):
        status, out, err = vidsim(*words)
        assert status == 0, err
        return out

    listing = filmed / "release" / "data" / "raw" / "utils" / "captions.csv"
    train = ("train", "quick.toml", "--judgments", "social", "--name", "mine", "--checkpoint", made.folder)
    done(*train, "--source", "videos", "--unlabelled", "more", "--device", "cpu")
    manifest = read_manifest(filmed / "indexes" / "adapters" / "mine")
    assert manifest.parameters == 3 * 2 * 2 * ((32 + 32) + (32 + 16))  # of three blocks, rank 2: q and o, k and v
    assert manifest.data["unlabelled_stimuli"] == 3
    assert len(list((filmed / "indexes" / "frames").iterdir())) == 30 + 3  # those of the test split are not decoded

    listing.write_text("".join(listing.read_text().splitlines(keepends=True)[:3]))  # of clip 0 alone
    done("judgments", "import", "release", "--name", "social", "--force")
    few = (*train, "--source", "videos", "--device", "cpu", "--force")
    status, _, err = vidsim(*few)
    assert status == 0, err
    told = f"vidsim: 29 of 30 stimuli have no caption, the first is 'clip 1.mp4'; of these {QWEN} is shown the frames"
    assert told in err
    listing.write_text("video_name,caption_index,caption\nclip 35.mp4,1,a test clip's\n")
    done("judgments", "import", "release", "--name", "social", "--force")
    assert vidsim(*few)[2] == (
        "vidsim: quick.toml: run.captions has no effect, as no stimulus has a caption; leave it out\n"
    )

    rows = [(f"clip {k}", f"videos/clip {k}.mp4", f"scene {k}") for k in range(4)]
    (filmed / "few.csv").write_text("id,path,caption\n" + "".join(f"{','.join(row)}\n" for row in rows))
    done("index", "few.csv", "-e", "mine", "--device", "cpu")
    stored = Store("indexes")["mine"][made.card.default_layer]
    found = [json.loads(line) for line in done("search", "clip 2", "--encoder", "mine", "--json").splitlines()]
    assert {hit["id"] for hit in found} == {"clip 0", "clip 1", "clip 3"}
    done("extract", "few.csv", "-e", QWEN, "--checkpoint", made.folder, "--device", "cpu")
    base = Store("indexes")[QWEN][made.card.default_layer]
    assert np.abs(base.take(stored.ids).matrix - stored.matrix).max() > 1e-3
