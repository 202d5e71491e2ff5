"""Cards of one's own: where they are found, what they may say, and what is loaded by them."""

import json
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from tiny_cards import CNN, WHOLE, use_it, write

from vidsim.encoders import card_rules, catalog, user_cards
from vidsim.encoders.base import EncoderCard, Sampling
from vidsim.errors import VidsimError


def test_a_whole_card(cards):
    write(cards, WHOLE)
    assert catalog.card("My-VideoMAE") == EncoderCard(
        name="my-videomae",
        family="video_transformer",
        modality="video",
        layers=("encoder.layer.0", "encoder.layer.1"),
        default_layer="encoder.layer.1",
        checkpoint="me/videomae-of-mine",
        revision="0123456789abcdef0123456789abcdef01234567",
        sampling=Sampling(frames=16),
        size=32,
        width=32,
        pooling="mean",
        licence="MIT",
        lora_targets=("query", "value"),
        architecture="VideoMAEModel",
        source=str(cards / "mine.toml"),
        options={"prefix_tokens": 0, "heads": ("classifier.", "fc_norm.")},
    )
    assert list(catalog.cards()) == [*catalog.CARDS, "my-videomae"]


def test_a_pipe_is_no_card_and_is_not_waited_for(cards):
    os.mkfifo(cards / "pipe.toml")
    write(cards, WHOLE)
    found = []
    reader = threading.Thread(target=lambda: found.append(catalog.own_cards()), daemon=True)
    reader.start()
    reader.join(30)
    assert [list(own.cards) for own in found] == [["my-videomae"]]
    (offer,) = found[0].left_out
    assert offer.reason == f"{cards / 'pipe.toml'}: is no file; expected a card (TOML)"


def test_a_card_like_another_takes_what_it_does_not_say(cards):
    write(cards, 'name = "mine"\nlike = "timesformer-base"\ncheckpoint = "me/mine"\nfps = 12\nwindows = 2\n')
    usual, card = catalog.card("timesformer-base"), catalog.card("mine")
    assert card == replace(
        usual,
        name="mine",
        checkpoint="me/mine",
        revision=None,  # these are of the other's files
        licence="",
        source=str(cards / "mine.toml"),
        sampling=Sampling(frames=8, fps=12.0, windows=2),
    )


def test_targets_of_blocks_that_a_smaller_model_has_not_are_not_taken_over(cards):
    blocks = [f"vision_model.encoder.layers.{i}" for i in (0, 1)]
    layers = [*blocks, "mit.encoder.layers.0", "video_embeds"]
    write(cards, f'name = "small"\nlike = "xclip"\ncheckpoint = "me/small"\nlayers = {layers}\n')
    like = catalog.card("xclip").lora_targets
    found = catalog.card("small").lora_targets
    assert found == tuple(name for name in like if name.startswith((f"{blocks[0]}.", f"{blocks[1]}.")))
    assert len(found) == 16


def test_a_sentence_encoder(cards):
    write(
        cards,
        'name = "s"\nfamily = "sentence"\ncheckpoint = "me/s"\nwidth = 64\n'
        'layers = { pattern = "0.model.encoder.layer.{i}", depth = 3 }\noptions = { plain = true }\n',
    )
    card = catalog.card("s")
    assert card.layers == (*(f"0.model.encoder.layer.{i}" for i in range(3)), "sentence_embedding")
    assert (card.default_layer, card.modality, card.pooling, card.extra) == (
        "sentence_embedding",
        "text",
        "mean",
        "text",
    )
    assert (card.sampling, card.size, dict(card.options)) == (None, None, {"plain": True})


@pytest.mark.parametrize("checkpoint", ["https://example.org/zoo/tuned.pyth", "./tuned.pyth"])
def test_a_model_of_one_file_does_not_take_the_file_of_the_one_it_is_like(checkpoint, cards):
    write(cards, f'name = "x"\nlike = "x3d-m"\ncheckpoint = "{checkpoint}"\n')
    card, usual = catalog.card("x"), catalog.card("x3d-m")
    assert card.options == {**usual.options, "file": "tuned.pyth"}
    assert card.checkpoint == (checkpoint if "://" in checkpoint else str(cards / "tuned.pyth"))
    assert (card.layers, card.width) == (usual.layers, usual.width)
    write(cards, 'name = "x"\nlike = "x3d-m"\ncheckpoint = "org/name"\n')
    with pytest.raises(VidsimError, match=r"checkpoint expected an address \(https://\) of one file, or a folder"):
        catalog.card("x")


def test_the_built_in_cards_options_are_those_a_card_may_have():
    for row in catalog.CARDS.values():
        legal = {key for key, (_, families) in card_rules.OPTIONS.items() if row.family in families}
        assert set(row.options) - {"package"} <= legal, row.name
        for key in set(row.options) - {"package"}:
            value, (kind, _) = row.options[key], card_rules.OPTIONS[key]
            assert card_rules.CHECKS[kind](list(value) if isinstance(value, tuple) else value), (row.name, key)
    assert {family for _, families in card_rules.OPTIONS.values() for family in families} <= set(catalog.FAMILIES)


@pytest.mark.parametrize("like", ["VideoMAE", "videomae-Base-finetuned-kinetics"])
def test_a_card_may_be_like_another_by_any_name(like, cards):
    write(cards, f'name = "mine"\nlike = "{like}"\ncheckpoint = "me/mine"\n')
    assert catalog.card("mine").layers == catalog.card("videomae").layers


def test_a_video_cnn_says_how_its_frames_are_normalised(cards):
    write(cards, CNN)
    assert catalog.card("my-x3d").options == {"file": "mine.pyth", "mean": 0, "std": 1.0, "trained_size": 160}
    for old, told in (("mean = 0, ", "mean is missing"), ("std = 1.0, ", "std is missing")):
        write(cards, CNN.replace(old, ""))
        with pytest.raises(VidsimError, match=f"options.{told}; expected a number"):
            use_it()
    write(cards, CNN.replace("std = 1.0", "std = 0"))
    with pytest.raises(VidsimError, match=r"options\.std expected a number above 0, 0 came"):
        use_it()


def test_layers_by_name(cards):
    listed = 'layers = ["encoder.layer.1", "encoder.layer.0"]\ndefault_layer = "encoder.layer.0"'
    write(cards, WHOLE.replace('layers = { pattern = "encoder.layer.{i}", depth = 2 }', listed))
    card = catalog.card("my-videomae")
    assert (card.layers, card.default_layer) == (("encoder.layer.1", "encoder.layer.0"), "encoder.layer.0")
    last = 'layers = { pattern = "encoder.layer.{i}", depth = 1, last = ["norm"] }'
    write(cards, WHOLE.replace('layers = { pattern = "encoder.layer.{i}", depth = 2 }', last))
    assert catalog.card("my-videomae").layers == ("encoder.layer.0", "norm")


def test_folders_of_cards(tmp_path, monkeypatch):
    monkeypatch.delenv("VIDSIM_CARDS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert user_cards.card_files() == []  # no folder there is no mistake
    home = tmp_path / "config" / "vidsim" / "cards"
    home.mkdir(parents=True)
    write(home, WHOLE)
    assert "my-videomae" in catalog.cards()
    for name in "ab":
        (tmp_path / name).mkdir()
        write(tmp_path / name, WHOLE.replace("my-videomae", name))
    monkeypatch.setenv("VIDSIM_CARDS", f"{tmp_path / 'b'}:{tmp_path / 'a'}")
    assert list(catalog.cards())[-2:] == ["b", "a"]
    assert "my-videomae" not in catalog.cards()
    monkeypatch.setenv("VIDSIM_CARDS", str(tmp_path / "none"))
    with pytest.raises(VidsimError, match=r"VIDSIM_CARDS names '.*none', which is no folder"):
        catalog.cards()
    assert catalog.card("timesformer-base").name == "timesformer-base"  # a broken card is in nobody's way


def test_typos_find_ones_own_cards_too(cards):
    write(cards, WHOLE)
    with pytest.raises(VidsimError, match="no encoder named 'my-videoma'; did you mean 'my-videomae'"):
        catalog.card("my-videoma")


def test_a_card_loads_a_checkpoint_as_a_built_in_one_does(cards, publish, clips):
    made = publish("videomae-base-finetuned-kinetics")
    made.folder.rename(cards / "weights")
    write(cards, WHOLE.replace("me/videomae-of-mine", "./weights").replace('revision = "012345', '# "'))
    card = catalog.card("my-videomae")
    assert card.checkpoint == str(cards / "weights")
    resolved = catalog.resolve("my-videomae", offline=True)
    assert (resolved.source, resolved.folder, resolved.local) == ("folder", cards / "weights", None)
    batch = clips(made.card, 2)
    found = catalog.load(resolved, device="cpu").encode(batch, card.layers, lambda _, features: features)
    usual = catalog.resolve(made.card, checkpoint=str(cards / "weights"))
    expected = catalog.load(usual, device="cpu").encode(batch, card.layers, lambda _, features: features)
    for layer, vectors in expected.items():
        np.testing.assert_array_equal(found[layer], vectors)
    # what was embedded is told by the hash, wherever the folder is
    (cards / "weights").rename(cards / "elsewhere")
    with pytest.raises(VidsimError, match=r"the checkpoint of my-videomae is not there: no folder '.*weights'"):
        catalog.resolve("my-videomae")
    write(
        cards, (cards / "mine.toml").read_text().replace("./weights", "elsewhere").replace('"elsewhere', '"./elsewhere')
    )
    assert catalog.resolve("my-videomae").identity == resolved.identity
    with pytest.raises(VidsimError, match="the checkpoint of my-videomae is a folder: leave it out"):
        catalog.resolve("my-videomae", revision="main")


def test_options_that_shape_embeddings_are_told_apart(cards, publish):
    publish("videomae-base-finetuned-kinetics").folder.rename(cards / "weights")
    card = WHOLE.replace("me/videomae-of-mine", "./weights").replace('revision = "012345', '# "')

    def identity(old="", new=""):
        write(cards, card.replace(old, new))
        return catalog.resolve("my-videomae").identity

    usual = identity()
    assert usual["card"] == {"architecture": "VideoMAEModel", "prefix_tokens": 0}
    assert json.loads(json.dumps(usual)) == usual
    for new in ("prefix_tokens = 1", "init = { a = [1] }", "forward = { skip = true }", "trained_size = 56"):
        other = identity("prefix_tokens = 0", new)
        assert {key for key in usual if usual[key] != other[key]} == {"card"}
        assert json.loads(json.dumps(other)) == other
    changes = (('"fc_norm."]', '"fc_norm."], unused = ["pooler"]'), ('["classifier.", ', "["))
    changes = (*changes, ("prefix_tokens = 0", "prefix_tokens = 0, prepared = { resample = 2 }"))
    for old, new in changes:
        assert identity(old, new) == usual


def test_built_in_cards_have_nothing_of_their_own(publish):
    for name in catalog.CARDS:
        assert catalog._own(catalog.card(name)) == {}
    made = publish("timesformer-base")
    keys = catalog.resolve(made.card, checkpoint=str(made.folder)).identity.keys()
    assert sorted(keys) == sorted(
        ["encoder", "family", "version", "checkpoint", "weights", "config", "sampling", "size", "preprocess", "pooling"]
    )
    assert catalog._own(replace(made.card, options={**made.card.options, "prefix_tokens": 2}))["prefix_tokens"] == 2


def test_a_card_like_another_says_what_its_own_processor_does(cards, publish):
    made = publish("videomae-base-finetuned-kinetics")
    made.folder.rename(cards / "weights")
    path = cards / "weights" / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "image_mean": [0.5, 0.5, 0.5]}))
    like = 'name = "m"\nlike = "videomae"\ncheckpoint = "./weights"\nsize = 32\nwidth = 32\n'
    like += 'layers = { pattern = "encoder.layer.{i}", depth = 2 }\ndefault_layer = "encoder.layer.1"\n'
    like += f"parameters = {made.card.parameters}\n"
    write(cards, like)
    message = r"m expects frames prepared with mean 0\.485, .* has 0\.5, 0\.5, 0\.5; mend options\.prepared in its card"
    with pytest.raises(VidsimError, match=message):
        catalog.load(catalog.resolve("m"), device="cpu")
    write(cards, f"{like}options = {{ prepared = {{ mean = [0.5, 0.5, 0.5] }} }}\n")
    assert catalog.load(catalog.resolve("m"), device="cpu").preprocess.mean == (0.5, 0.5, 0.5)
