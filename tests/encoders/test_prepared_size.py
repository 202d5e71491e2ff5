"""Frames are resized as the published files have it, and the file that says otherwise is named."""

import json
from dataclasses import replace

import pytest
from published import MAKERS
from tiny_models import write_qwen, write_xclip

from vidsim.encoders import catalog
from vidsim.encoders.checkpoint import needed_beside_weights
from vidsim.encoders.prepared import refuse_other_steps
from vidsim.errors import VidsimError

SQUARE = [
    name for name in MAKERS if catalog.card(name).architecture in {"ViTModel", "DINOv3ViTModel", "SiglipVisionModel"}
]
CROPPED = [name for name in MAKERS if name not in SQUARE]
FIXED = [name for name in CROPPED if not name.startswith("vjepa2")]  # that processor's size follows its crop


def rewrite(made, **changes):
    path = made.folder / needed_beside_weights(made.card)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(made, **options):
    card = replace(made.card, options={**made.card.options, **options})
    with pytest.raises(VidsimError) as told:
        refuse_other_steps(catalog.resolve(card, checkpoint=str(made.folder)))
    assert "\n" not in str(told.value)
    return str(told.value)


def accepted(made, **options):
    card = replace(made.card, options={**made.card.options, **options})
    refuse_other_steps(catalog.resolve(card, checkpoint=str(made.folder)))


@pytest.mark.parametrize("name", [*MAKERS, "xclip-base-patch32", "Qwen3-VL-2B-Instruct"])
def test_every_file_as_published_is_taken(name, publish, tmp_path):
    own = {"xclip-base-patch32": write_xclip, "Qwen3-VL-2B-Instruct": write_qwen}
    made = own[name](tmp_path / name) if name in own else publish(name)
    accepted(made)


@pytest.mark.parametrize("name", MAKERS)
def test_frames_that_are_not_resized_are_refused(name, publish):
    made = publish(name)
    rewrite(made, do_resize=False, do_center_crop=True, crop_size=32)
    message = refusal(made)
    if "which is not done here" in message:  # some know no crop
        assert name in SQUARE
        return
    file = made.folder / needed_beside_weights(made.card)
    assert f"{name} expects frames to be resized, '{file}' has do_resize false; set it to true, " in message
    accepted(made, prepared={})  # a card that says nothing takes any processor


@pytest.mark.parametrize("name", FIXED)
def test_a_crop_larger_than_the_frame_is_refused(name, publish):
    made = publish(name)
    rewrite(made, size={"shortest_edge": 31})
    assert ": a shortest edge of 31 pixels and a crop of 32; expected an edge no shorter than" in refusal(made)
    rewrite(made, size={"shortest_edge": 48})
    accepted(made)


def test_a_card_of_ones_own_is_told_what_to_say(publish, cards):
    made = publish("timesformer-base")
    rewrite(made, do_resize=False)
    text = f'name = "mine"\nlike = "timesformer"\ncheckpoint = "{made.folder}"\nsize = 32\n'
    (cards / "mine.toml").write_text(text)
    with pytest.raises(VidsimError, match=r"do_resize false; set it to true, or options\.prepared = {} in its card"):
        refuse_other_steps(catalog.resolve("mine"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_mean": "x"}, "image_mean 'x'; expected three numbers"),
        ({"image_processor_type": "Foo"}, "class 'Foo' is not known"),
        ({"do_pad": True}, "asks for do_pad=True"),
        ({"do_center_crop": False}, "neither crops nor resizes"),
        ({"do_normalize": "no"}, "do_normalize 'no'; expected true or false"),
        ({"size": 10**9}, "size 1000000000; expected a number of pixels above 0 and up to 16,384"),
        (
            {"video_processor_type": "ShortSideScale", "size": {"height": 5, "width": 5}},
            "expected {'shortest_edge': n}",
        ),
    ],
)
def test_a_file_that_cannot_be_followed_is_named(changes, said, publish):
    made = publish("timesformer-base")
    rewrite(made, **changes)
    told = refusal(made)
    assert told.startswith(f"'{made.folder}/preprocessor_config.json': preproc")
    assert said in told
    assert told.endswith("; mend it, or download it again")


def test_a_file_is_named_before_anything_is_loaded(publish):
    made = publish("timesformer-base")
    rewrite(made, image_mean="x")
    with pytest.raises(VidsimError, match=r"preprocessor_config\.json': preprocessor config has image_mean 'x'"):
        _ = catalog.resolve(made.card, checkpoint=str(made.folder)).identity
