"""Encoders that installed packages add, with families of their own."""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from tiny_cards import use_it

from vidsim.encoders import catalog, package_cards
from vidsim.encoders.base import EncoderCard, Sampling
from vidsim.errors import VidsimError

PACKAGE = """
from vidsim.encoders.base import EncoderCard, Sampling

CARD = EncoderCard(
    name="mean-colour", family="somebodys.colour:MeanColour", modality="image", layers=("rgb",), default_layer="rgb",
    sampling=Sampling(frames=2), width=3, source="a test",
)

def cards():
    return [CARD]
"""
FAMILY = """
import numpy as np
import torch

class MeanColour:
    def __init__(self, card, device):
        self.card = card
        self.provenance = {"encoder": card.name}

    def prepare(self, frame):
        return torch.from_numpy(np.ascontiguousarray(frame)).float().mean((0, 1))

    def encode(self, batch, layers, reduce):
        return {layer: reduce(layer, torch.as_tensor(batch).mean(1)).numpy() for layer in layers}
"""


@pytest.fixture
def package(tmp_path, monkeypatch, cards):
    """Install a package that offers an encoder of a family of its own."""
    site = tmp_path / "site"
    (site / "somebodys").mkdir(parents=True)
    (site / "somebodys" / "__init__.py").write_text(PACKAGE)
    (site / "somebodys" / "colour.py").write_text(FAMILY)
    info = site / "somebodys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(site))

    def offer(what):
        (info / "entry_points.txt").write_text(f"[vidsim.encoders]\nmine = {what}\n")
        for name in [name for name in sys.modules if name.partition(".")[0] == "somebodys"]:
            monkeypatch.delitem(sys.modules, name)
        return site

    yield offer
    for name in [name for name in sys.modules if name.partition(".")[0] == "somebodys"]:
        del sys.modules[name]


@pytest.mark.parametrize("what", ["somebodys:CARD", "somebodys:cards"])
def test_a_package_adds_an_encoder_and_its_family(what, package):
    package(what)
    assert "mean-colour" in catalog.cards()
    resolved = catalog.resolve("mean-colour")
    assert (resolved.identity["family"], resolved.version) == ("somebodys.colour:MeanColour", 1)
    encoder = catalog.load(resolved, device="cpu")
    frames = [encoder.prepare(np.full((4, 4, 3), value, np.uint8)) for value in (10, 30)]
    import torch

    found = encoder.encode(torch.stack(frames)[None], ["rgb"], lambda _, features: features)
    np.testing.assert_array_equal(found["rgb"], [[20, 20, 20]])


def test_nobodys_packages_are_not_looked_at_twice(cards):
    assert package_cards._offering() == []
    assert package_cards.read_packages(catalog.CARDS) == []


@pytest.mark.parametrize(
    ("code", "what", "message"),
    [
        (
            "",
            "somebodys:missing",
            "entry point mine = 'somebodys:missing' of package somebodys cannot be loaded: AttributeError: ",
        ),
        ("import nothing_of_that_name", "somebodys:CARD", "cannot be loaded: ModuleNotFoundError: No module named"),
        ("CARD = 7", "somebodys:CARD", "gives 7; expected an EncoderCard, several, or"),
        (
            "CARD = ['timesformer']",
            "somebodys:CARD",
            "gives 'timesformer'; expected an EncoderCard, several, or a function that returns them",
        ),
        (PACKAGE.replace("mean-colour", "LaBSE"), "somebodys:CARD", "name 'LaBSE' is that of a built-in encoder"),
        (
            PACKAGE.replace('layer="rgb"', 'layer="hsv"'),
            "somebodys:CARD",
            "card mean-colour: default_layer expected one of the layers, 'hsv' came",
        ),
    ],
)
def test_a_package_that_offers_something_else_is_named(code, what, message, package):
    site = package(what)
    (site / "somebodys" / "__init__.py").write_text(code)
    with pytest.raises(VidsimError, match=message) as told:
        use_it()
    assert re.match(r"entry point mine = 'somebodys:\w+' of package somebodys[:, ]", str(told.value))


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (
            "colours",
            "card mean-colour: family expected one of .*image, .*, or module:Class of a package, 'colours' came",
        ),
        (
            "somebodys.color:MeanColour",
            "family 'somebodys.color:MeanColour' of mean-colour cannot be loaded: ModuleNotFoundError: No",
        ),
        (
            "somebodys.colour:Mean",
            "family 'somebodys.colour:Mean' of mean-colour cannot be loaded: AttributeError: module",
        ),
    ],
)
def test_a_family_that_is_not_there_is_named(family, message, package):
    site = package("somebodys:CARD")
    (site / "somebodys" / "__init__.py").write_text(PACKAGE.replace("somebodys.colour:MeanColour", family))
    with pytest.raises(VidsimError, match=message):
        catalog.load(catalog.resolve("mean-colour"), device="cpu")


def of_package(options=None):
    return EncoderCard(
        name="theirs",
        family="somebodys.colour:MeanColour",
        modality="image",
        layers=("rgb",),
        default_layer="rgb",
        checkpoint="somebody/theirs",
        sampling=Sampling(frames=2),
        options=options or {},
    )


@pytest.mark.parametrize("modality", ["image", "video+text", "text"])
@pytest.mark.parametrize("processor", [None, {"image_processor_type": "EvaImageProcessor"}, {"do_resize": False}])
def test_a_family_of_a_package_reads_its_checkpoint_itself(processor, modality, publish):
    folder = publish("clip-vit-b-32").folder
    (folder / "preprocessor_config.json").unlink()
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    found = catalog.resolve(replace(of_package({"file": "x", "mean": 3}), modality=modality), checkpoint=str(folder))
    said = processor if processor and modality != "text" else {}
    assert (found.source, found.folder, dict(found.preprocess)) == ("folder", folder, said)
    assert found.identity["preprocess"] == said
    assert found.identity["card"] == {"file": "x", "mean": 3}


def test_options_of_a_package_are_json(publish):
    folder = publish("clip-vit-b-32").folder
    options = {"rule": len, "sizes": (1, 2), "where": folder.parent}
    identity = catalog.resolve(of_package(options), checkpoint=str(folder)).identity
    assert identity["card"] == {"rule": "len", "sizes": [1, 2], "where": str(folder.parent)}
    assert json.loads(json.dumps(identity)) == identity


@pytest.mark.parametrize("version", ["1.2", "x", 1.5, True, None])
def test_a_version_that_is_no_number_is_told(version):
    with pytest.raises(VidsimError, match=r"theirs has version .* among its options; expected a whole number"):
        catalog.resolve(replace(of_package({"version": version}), checkpoint=None))
    assert catalog.resolve(replace(of_package({"version": 2}), checkpoint=None)).identity["version"] == 2
