"""How many stimuli go through a model at a time."""

import pytest

from vidsim.encoders.catalog import CARDS
from vidsim.extract.encode import batch_size_for


@pytest.mark.parametrize(
    ("name", "on_gpu"),
    [
        ("timesformer-base", 32),
        ("clip-vit-b-32", 32),
        ("videomae-base-finetuned-kinetics", 20),
        ("vjepa2-vitl-fpc64-256", 4),
        ("Qwen3-VL-2B-Instruct", 8),
        ("motion-energy", 8),
    ],
)
def test_clips_at_a_time(name, on_gpu):
    assert batch_size_for(CARDS[name], "cuda:1") == on_gpu
    assert batch_size_for(CARDS[name], "cpu") == 1


def test_captions_at_a_time():
    assert {batch_size_for(CARDS["all-MiniLM-L6-v2"], device) for device in ("cpu", "cuda")} == {64}
