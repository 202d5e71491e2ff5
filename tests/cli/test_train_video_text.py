import json

import numpy as np
import pytest
from tiny_models import XCLIP, write_xclip
from tiny_study import filmed, study

from vidsim.encoders import catalog
from vidsim.store import Store

__all__ = ["filmed", "study"]

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
def test_clips_train_an_encoder_that_is_then_searched_by_words(vidsim, filmed, monkeypatch):
    made = write_xclip(filmed / "xclip")
    monkeypatch.setitem(catalog.CARDS, XCLIP, made.card)
    (filmed / "quick.toml").write_text(RECIPE)

    def done(*words):
        status, out, err = vidsim(*words)
        assert status == 0, err
        return out

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
