from types import SimpleNamespace

import pytest
import torch

from vidsim.encoders import catalog
from vidsim.encoders.video_text import JOINT
from vidsim.errors import VidsimError
from vidsim.extract import FeatureSpec
from vidsim.extract.text import READER, TEXT_TOWERS, embed_text, takes_text, who_takes_text


def test_texts_have_a_place_where_encoders_read_them():
    taking = {card.name for card in catalog.CARDS.values() for layer in card.layers if takes_text(card, layer)}
    assert taking == {c.name for c in catalog.CARDS.values() if c.modality == "text" or c.family == "video_text"}
    assert dict(TEXT_TOWERS) == {"XCLIPModel": JOINT}
    assert not takes_text(catalog.card("xclip"), "vision_model.post_layernorm")
    assert catalog.card(READER).modality == "text"
    assert READER in who_takes_text()
    assert "xclip-base-patch32 (video_embeds)" in who_takes_text()


@pytest.mark.parametrize(
    ("text", "said"), [(" \n", "no words"), ("a dog", "motion-energy has no place for texts in energy")]
)
def test_what_has_no_place_is_refused(text, said):
    with pytest.raises(VidsimError, match=said):
        embed_text(text, catalog.resolve("motion-energy"), FeatureSpec(), "energy")


def test_a_lack_of_memory_is_told_in_a_line(monkeypatch):
    def fail(_texts):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(catalog, "load", lambda *_, **__: SimpleNamespace(encode_text=fail))
    resolved = catalog.Resolved(card=catalog.card("xclip"), version=1, pooling="none")
    with pytest.raises(VidsimError, match=r"^out of memory on cpu; give another --device$"):
        embed_text("a dog", resolved, FeatureSpec(), JOINT, "cpu")
