"""Cards of one's own: two that are whole, how they are written, and how they are refused."""

from vidsim.encoders import catalog
from vidsim.errors import VidsimError

WHOLE = """
name = "my-videomae"
family = "video_transformer"
checkpoint = "me/videomae-of-mine"
revision = "0123456789abcdef0123456789abcdef01234567"
architecture = "VideoMAEModel"
layers = { pattern = "encoder.layer.{i}", depth = 2 }
frames = 16
size = 32
width = 32
pooling = "mean"
licence = "MIT"
lora_targets = ["query", "value"]
options = { prefix_tokens = 0, heads = ["classifier.", "fc_norm."] }
"""
CNN = """
name = "my-x3d"
family = "video_cnn"
checkpoint = "https://example.org/zoo/mine.pyth"
architecture = "X3D"
layers = ["blocks.4"]
frames = 4
size = 182
width = 192
pooling = "mean"
options = { mean = 0, std = 1.0, trained_size = 160 }
"""


def write(folder, text, name="mine.toml"):
    (folder / name).write_text(text)
    return folder / name


def use_it():
    """Refuse the one card there is, with the reason for which it is left out."""
    (offer,) = catalog.own_cards().left_out
    assert offer.card is None
    assert set(catalog.cards()) == set(catalog.CARDS)
    raise VidsimError(offer.reason)
