"""A clip is read as it is on disk, or refused."""

from dataclasses import replace

import numpy as np
import pytest

from vidsim.data.stimuli import Stimulus
from vidsim.data.video import Frames
from vidsim.encoders import catalog
from vidsim.errors import UnusableFile
from vidsim.extract import FeatureSpec
from vidsim.extract.clip import prepare
from vidsim.extract.plan import file_entry


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"a" * 50)
    stimulus = Stimulus(path.name, path)
    frames = Frames(np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1), 1.5)
    encoder = catalog.load(catalog.resolve("motion-energy"), device="cpu")
    entry, images = prepare(stimulus, encoder, lambda _: ("00", frames), FeatureSpec())
    assert entry == replace(file_entry(stimulus), content="00", duration=1.5)
    assert images is frames.images

    def growing(path):
        with path.open("ab") as file:
            file.write(b"more")
        return "00", frames

    with pytest.raises(UnusableFile, match=r"a\.mp4' changed while it was read; run again when it is complete"):
        prepare(stimulus, encoder, growing, FeatureSpec())
