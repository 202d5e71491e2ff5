import json

import numpy as np
import pytest
from tiny_models import XCLIP, write_xclip
from tiny_study import make_release

from vidsim.encoders import catalog
from vidsim.store import Store

from clips import moving_square, write_clip

RECIPE = f"""
encoder = "{XCLIP}"
[adapter]
rank = 2
[loss]
kind = "soft"
retention = 0.1
[batches]
sampler = "stimuli"
stimuli = 8
steps = 2
[optimiser]
learning_rate = 1e-2
epochs = 2
"""


@pytest.mark.slow
def test_clips_train_an_encoder_that_is_then_searched_by_words(vidsim, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIDSIM_ROOT", raising=False)
    made = write_xclip(tmp_path / "xclip")
    monkeypatch.setitem(catalog.CARDS, XCLIP, made.card)
    make_release(tmp_path / "release")
    for k in range(36):
        write_clip(tmp_path / "videos" / f"clip {k}.mp4", moving_square(frames=9, step=k % 5, start=k))
    (tmp_path / "quick.toml").write_text(RECIPE)

    def done(*words):
        status, out, err = vidsim(*words)
        assert status == 0, err
        return out

    done("judgments", "import", "release", "--name", "social")
    train = ("train", "quick.toml", "--judgments", "social", "--name", "mine", "--checkpoint", made.folder)
    trained = json.loads(done(*train, "--source", "videos", "--device", "cpu", "--json"))
    assert trained["runs"][0]["parameters"] == 2 * 8 * 2 * (32 + 32)  # two blocks of eight layers, rank 2
    done("index", "videos", "-e", "mine", "--device", "cpu")
    found = [json.loads(line) for line in done("search", "--text", "a dog runs", "--json", "-n", "36").splitlines()]
    embeddings = Store("indexes")["mine"]["video_embeds"].unit
    text = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu").encode_text(
        ["a dog runs"]
    )[0]
    similarities = embeddings.matrix @ text
    assert [hit["id"] for hit in found] == [embeddings.ids[k] for k in np.argsort(-similarities)]
    np.testing.assert_allclose([hit["similarity"] for hit in found], np.sort(similarities)[::-1], atol=1e-5)
