import numpy as np
import pytest
import torch

from vidsim.adapt.attached import attach
from vidsim.adapt.baselines import baselines
from vidsim.adapt.linear import LinearTransform
from vidsim.adapt.material import Material
from vidsim.adapt.penalty import fit_any
from vidsim.data.simulate import simulate
from vidsim.embeddings import Embeddings
from vidsim.encoders import catalog
from vidsim.rsm import cosine_rsm
from vidsim.triplets import Triplets


@pytest.fixture(scope="module")
def space():
    """Return embeddings off the origin, and judges who see two of their dimensions."""
    matrix = np.random.default_rng(0).normal(size=(30, 6)) + 2
    ids = tuple(f"s{k}" for k in range(30))
    seen = cosine_rsm(Embeddings(ids, matrix[:, :2] - 2))
    return Embeddings(ids, matrix), simulate(seen, trials=900, temperature=0.1, seed=1).triplets


def test_centring_takes_the_mean_of_the_stimuli_to_fit_away_and_no_other(space):
    embeddings, triplets = space
    fit, held = triplets.restrict(embeddings.ids[:20]), embeddings.ids[20:]
    found = baselines(embeddings, fit, held)
    assert list(found) == ["base", "centred", "linear"]
    assert {one.ids for one in found.values()} == {held}
    np.testing.assert_array_equal(found["base"].matrix, embeddings.matrix[20:])
    np.testing.assert_allclose(found["centred"].matrix, embeddings.matrix[20:] - embeddings.matrix[:20].mean(axis=0))


def test_the_linear_transform_is_fitted_without_the_stimuli_held_out(space):
    embeddings, triplets = space
    fit, held = triplets.restrict(embeddings.ids[:20]), embeddings.ids[20:]
    found = baselines(embeddings, fit, held)["linear"].matrix
    expected = fit_any(embeddings.take(fit.ids), fit).apply(embeddings.take(held)).matrix
    np.testing.assert_array_equal(found, expected)


def test_a_transform_that_is_fitted_already_is_not_fitted_again(space):
    embeddings, triplets = space
    fit, held = triplets.restrict(embeddings.ids[:20]), embeddings.ids[20:]
    other = LinearTransform(np.zeros(6, np.float32), np.eye(6, 2, dtype=np.float32))
    found = baselines(embeddings, fit, held, other)["linear"].matrix
    np.testing.assert_allclose(found, embeddings.matrix[20:, :2], rtol=1e-6)


def test_the_base_is_what_the_encoder_gives_before_lora_changes_it(publish):
    made = publish("clip-vit-b-32")
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    shape = (made.card.sampling.frames, 3, made.card.size, made.card.size)
    frames = {
        name: torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
        for seed, name in enumerate("ab")
    }
    layer = made.card.default_layer
    expected = encoder.encode(torch.stack(list(frames.values())), [layer], lambda _, x: x)[layer]
    attach(encoder, rank=2, scaling=4, targets=made.card.lora_targets)
    material = Material(Triplets(("a", "b"), np.empty((0, 3), np.int32)), None, frames=frames.__getitem__)
    found = material.embed(encoder, None, layer, ("a", "b"))
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-5, atol=1e-6)
