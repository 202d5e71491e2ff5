"""The processor of a checkpoint is held against what the card says that the published one does."""

import json
from dataclasses import replace

import pytest
from published import CLIP, IMAGENET, MAKERS
from tiny_models import write_qwen, write_xclip

from vidsim.encoders import catalog
from vidsim.errors import VidsimError

PROCESSED = [row.name for row in catalog.CARDS.values() if row.checkpoint and row.modality != "text"]
PROCESSED = [name for name in PROCESSED if catalog.card(name).family != "video_cnn"]


def load(card, folder):
    return catalog.load(catalog.resolve(card, checkpoint=str(folder)), device="cpu")


def rewrite(folder, card, **changes):
    path = folder / card.options.get("processor", "preprocessor_config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_every_card_with_a_processor_says_what_it_does():
    assert {*MAKERS, "xclip-base-patch32", "Qwen3-VL-2B-Instruct"} == set(PROCESSED)
    for name in PROCESSED:
        assert {"mean", "std", "factor"} <= set(catalog.card(name).options["prepared"])
    said = {name: catalog.card(name).options["prepared"] for name in PROCESSED}
    assert {name for name in PROCESSED if said[name].get("resample") == 3} == {
        *("clip-vit-b-32", "clip-vit-b-16", "dinov2-base", "Qwen3-VL-2B-Instruct")
    }
    for facts, expected in ((CLIP, "clip-vit-b-16"), (IMAGENET, "videomae-base-finetuned-kinetics")):
        assert {key: list(said[expected][key]) for key in ("mean", "std")} == {
            key.removeprefix("image_"): value for key, value in facts.items()
        }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"image_mean": [0, 0, 0]},
            r"expects frames prepared with mean 0\.48\d+, .*, the checkpoint in .* has 0, 0, 0",
        ),
        ({"image_std": [0.5, 0.5, 0.5]}, r"prepared with std 0\.26\d+, .*, the checkpoint in .* has 0\.5, 0\.5, 0\.5"),
        ({"resample": 2}, "prepared with resample 3, the checkpoint in .* has 2; is it openai/clip-vit-base-patch32"),
        ({"rescale_factor": 1.0}, r"prepared with factor 0\.00392157, the checkpoint in .* has 1;"),
        ({"do_rescale": False}, r"prepared with factor 0\.00392157, the checkpoint in .* has 1;"),
        ({"do_normalize": False}, r"prepared with mean 0\.48\d+, .* has 0, 0, 0"),
    ],
)
def test_another_processor_is_refused_with_both_values(changes, message, publish):
    made = publish("clip-vit-b-32")
    rewrite(made.folder, made.card, **changes)
    with pytest.raises(VidsimError, match=message) as told:
        load(made.card, made.folder)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", PROCESSED)
def test_every_cards_mean_is_held_against_the_file(name, publish, tmp_path):
    own = {"xclip-base-patch32": write_xclip, "Qwen3-VL-2B-Instruct": write_qwen}
    made = own[name](tmp_path / name) if name in own else publish(name)
    rewrite(made.folder, made.card, image_mean=[0.1, 0.2, 0.3])
    with pytest.raises(
        VidsimError, match=rf"{name} expects frames prepared with mean .* the checkpoint in .* has [01]\."
    ):
        load(made.card, made.folder)


def test_digits_of_float32_are_the_same(publish):
    made = publish("clip-vit-b-32")
    rewrite(made.folder, made.card, rescale_factor=0.003921568859368563)
    load(made.card, made.folder)


def test_a_card_that_says_nothing_takes_any_processor(publish):
    made = publish("clip-vit-b-32")
    rewrite(made.folder, made.card, image_mean=[0, 0, 0])
    silent = {key: value for key, value in made.card.options.items() if key != "prepared"}
    assert load(replace(made.card, options=silent), made.folder).preprocess.mean == (0, 0, 0)
