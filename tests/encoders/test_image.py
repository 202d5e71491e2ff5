import numpy as np
import pytest
import torch

from vidsim.encoders import catalog
from vidsim.errors import VidsimError

NAMES = ("clip-vit-b-32", "clip-vit-b-16", "dino-vitb16", "dinov2-base", "dinov3-vitb16", "siglip2-base-patch16-224")
SIGLIP = "siglip2-base-patch16-224"


def whole(_layer, features):
    return features


def upstream_tokens(made, images):
    """Run the model plainly, and return the tokens behind each block and what follows."""
    model = made.upstream
    with torch.no_grad():
        if made.card.name != "dino-vitb16":
            plain = model(pixel_values=images, output_hidden_states=True)
            last = plain.last_hidden_state
            behind = {
                "post_layernorm": model.post_layernorm(last) if made.card.architecture == "CLIPVisionModel" else last,
                **dict.fromkeys(("layernorm", "norm"), last),
                "head": plain.pooler_output,
            }
            return [*plain.hidden_states[1:], *(behind[name] for name in made.card.layers[2:])]
        # its hidden states are tied to the final norm upstream, so block by block
        states = model.embeddings(images)
        found = []
        for block in model.layers:
            states = block(states)
            found.append(states)
        return [*found, model.layernorm(states)]


@pytest.mark.parametrize(
    ("name", "rule"),
    [(name, rule) for name in NAMES for rule in ("cls", "mean", "flatten") if (name, rule) != (SIGLIP, "cls")],
)
def test_layers_are_upstreams_averaged_over_the_frames(name, rule, publish, clips):
    made = publish(name)
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder), pooling=rule), device="cpu")
    batch = clips(made.card, 2)
    found = encoder.encode(batch, made.card.layers, whole)
    total = dict.fromkeys(made.card.layers, 0.0)
    for frame in range(7):  # one frame at a time, one clip at a time
        tokens = [upstream_tokens(made, made.normalised(clip[frame])[None]) for clip in batch]
        for depth, layer in enumerate(made.card.layers):
            states = torch.cat([one[depth] for one in tokens])
            # CLIP's final norm only ever sees the CLS token
            how = "cls" if layer == "post_layernorm" and name != SIGLIP else rule
            prefix = {"dinov3-vitb16": 5, SIGLIP: 0}.get(name, 1)
            pooled = {"cls": states[:, 0], "mean": states[:, prefix:].mean(1), "flatten": states.flatten(1)}
            pooled = states if layer == "head" else pooled[how]
            total[layer] = total[layer] + pooled.double().numpy() / 7
    assert list(found) == list(made.card.layers)
    for layer, vectors in found.items():
        np.testing.assert_allclose(vectors, total[layer], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_readout_is_upstreams_own(name, publish, clips):
    made = publish(name)
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    still = clips(made.card, 1)[:, :1].expand(1, 7, 3, 32, 32).contiguous()  # seven times one frame: its own embedding
    with torch.no_grad():
        plain = made.upstream(pixel_values=made.normalised(still[0, :1]))
    expected = plain.last_hidden_state[:, 0] if name == "dino-vitb16" else plain.pooler_output
    found = encoder.encode(still, [made.card.default_layer], whole)[made.card.default_layer]
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-5)


def test_seven_frames_or_none(publish, clips):
    made = publish("dino-vitb16")
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    with pytest.raises(VidsimError, match="takes 7 frames a clip, 6 came"):
        encoder.encode(clips(made.card, 2)[:, :6], made.card.layers, whole)


def test_the_order_of_the_frames_does_not_matter(publish, clips):
    made = publish("clip-vit-b-32")
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    batch = clips(made.card, 2)
    forth, back = (encoder.encode(frames, made.card.layers, whole) for frames in (batch, batch.flip(1)))
    for layer in made.card.layers:
        np.testing.assert_allclose(forth[layer], back[layer], rtol=0, atol=1e-5)
