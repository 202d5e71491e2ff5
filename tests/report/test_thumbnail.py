import base64
import io

import numpy as np
from PIL import Image

from vidsim.report.thumbnail import data_uri, thumbnail

from clips import write_clip


def test_the_middle_frame_is_shrunk(tmp_path):
    images = np.zeros((9, 48, 96, 3), np.uint8)
    images[4] = 200
    path = write_clip(tmp_path / "c.mp4", images)
    found = thumbnail(path, 32)
    assert found.shape == (16, 32, 3)
    assert found.mean() > 150
    assert thumbnail(path).shape == (48, 96, 3)  # never enlarged


def test_what_cannot_be_decoded_has_none(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    assert thumbnail(tmp_path / "broken.mp4") is None
    assert thumbnail(tmp_path / "none.mp4") is None


def test_uri_is_the_image():
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    start, _, data = data_uri(image, "png").partition(",")
    assert start == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), image)
    assert data_uri(image).startswith("data:image/jpeg;base64,")
