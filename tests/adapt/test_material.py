"""Material that an encoder cannot be trained on."""

import numpy as np
import pytest
import torch

from vidsim.adapt.material import Material
from vidsim.encoders import catalog
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets

FIT = Triplets(("a", "b", "c"), np.array([[0, 1, 2]]))
HELD = Triplets(("d", "e", "f"), np.array([[0, 1, 2]]))
TEXTS = {name: [f"a man {name}"] for name in "abcdef"}


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (None, "reads, and the material has no captions; give Material some"),
        ({**TEXTS, "b": "a man"}, "'b' has 'a man' for captions; expected a list of one or more, each a text"),
        ({**TEXTS, "e": []}, r"'e' has \[\] for captions"),
        ({name: TEXTS[name] for name in "abcd"}, r"'e' has \(\) for captions"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_a_stimulus_without_a_list_of_captions_is_named(captions, message):
    with pytest.raises(VidsimError, match=message):
        Material(FIT, HELD, captions=captions).check(catalog.card("all-minilm-l6-v2"))


def test_an_encoder_that_sees_needs_frames_and_no_captions():
    with pytest.raises(VidsimError, match="timesformer-base sees, and the material has no frames"):
        Material(FIT, None, captions=TEXTS).check(catalog.card("timesformer-base"))
    Material(FIT, None, frames=lambda _name: torch.zeros(1, 3, 2, 2, dtype=torch.uint8)).check(
        catalog.card("timesformer-base")
    )
    Material(FIT, HELD, captions=TEXTS).check(catalog.card("all-minilm-l6-v2"))
