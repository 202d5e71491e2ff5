"""A card of one's own, or a package's, that cannot be used is left out with its reason; all others work."""

import sys

import pytest

from vidsim.encoders import catalog

GOOD = 'name = "good"\nlike = "dino"\ncheckpoint = "me/good"\n'
CARD = """
from vidsim.encoders.base import EncoderCard, Sampling

def card(name="theirs", **wrong):
    made = EncoderCard(name=name, family="offering.code:Family", modality="image", layers=("rgb",),
                       default_layer="rgb", sampling=Sampling(frames=2), width=3)
    for key, value in wrong.items():
        object.__setattr__(made, key, value)  # as it is without a type checker at work
    return made
"""
FAMILY = """
class Family:
    def __init__(self, card, device):
        self.card, self.provenance = card, {"encoder": card.name}

    def prepare(self, frame):
        return frame

    def encode(self, batch, layers, reduce):
        return {}
"""


@pytest.fixture
def cards(tmp_path, monkeypatch):
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "good.toml").write_text(GOOD)
    monkeypatch.setenv("VIDSIM_CARDS", str(folder))
    return folder


@pytest.fixture
def offer(tmp_path, monkeypatch, cards):
    """Return a function that installs a package with the entry point ``point``."""
    site = tmp_path / "site"
    info = site / "offering-1.0.dist-info"
    (site / "offering").mkdir(parents=True)
    info.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(code="", value="offering:CARD", family=FAMILY):
        (info / "entry_points.txt").write_text(f"[vidsim.encoders]\npoint = {value}\n")
        (site / "offering" / "__init__.py").write_text(f"{CARD}\n{code}\n")
        (site / "offering" / "code.py").write_text(family)
        return info / "entry_points.txt"

    yield install
    for name in [name for name in sys.modules if name.partition(".")[0] == "offering"]:
        del sys.modules[name]


def check(vidsim, message, *asked):
    """See that the list has every other encoder, that another card works, and what is said to who asks for this one."""
    status, out, err = vidsim("models")
    assert (status, [line.split()[0] for line in out.splitlines()[1:]]) == (0, [*catalog.CARDS, "good"])
    assert err.startswith("left out: ")
    assert message in err
    assert err.count("\n") == 1
    assert vidsim("models", "good")[::2] == (0, "")
    for name in asked:
        status, out, told = vidsim("models", name)
        assert (status, out, told) == (2, "", err.replace("left out: ", "vidsim: "))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("options=None", "options expected a dict, None came"),
        ("options=[]", "options expected a dict, [] came"),
        ("options={'x': object}", "options.x expected strings, finite numbers, true or false, lists or tables; <class"),
        ("options={'x': [{'y': {1}}]}", "options.x[0].y expected strings, "),
        ("options={'x': {1: 2}}", "options.x expected keys that are strings, 1 came"),
        ("options={'x': float('nan')}", "options.x expected strings, finite numbers, "),
        ("options={'embedding_width': 'x'}", "options.embedding_width expected a whole number above 0, 'x' came"),
        ("options={'adapter': 5}", "options.adapter expected another name for this option, 5 came"),
        ("family=5", "family expected a string, 5 came"),
        ("family='nope'", "or module:Class of a package, 'nope' came"),
        ("family='motion_energy'", "modality expected video, which motion_energy takes, 'image' came"),
        ("family='image'", "checkpoint is missing; expected org/name of the hub"),
        ("family='image', checkpoint='a/b', size='x'", "size expected a whole number or None, 'x' came"),
        (
            "family='image', checkpoint='a/b', size=8, options={'x': 1}, pooling='mean', architecture='A'",
            "options.x is not known to image; expected one of ",
        ),
        ("modality='smell'", "modality expected one of video, image, text, video+text, 'smell' came"),
        ("pooling='max'", "pooling expected one of cls, mean, flatten, none, 'max' came"),
        ("parameters='9'", "parameters expected a whole number, '9' came"),
        ("parameters=-1", "parameters expected a whole number, 0 or above, -1 came"),
        ("parameters=10 ** 400", "parameters expected a whole number, 0 or above, 1000"),
        ("width=True", "width expected a whole number, True came"),
        ("size=0", "size expected a whole number above 0, 0 came"),
        ("licence=5", "licence expected a string, 5 came"),
        ("architecture=5", "architecture expected a string or None, 5 came"),
        ("checkpoint=5", "checkpoint expected a string or None, 5 came"),
        ("checkpoint='./here'", "checkpoint expected org/name of the hub, or a folder from /, './here' came"),
        ("revision=5", "revision expected a string or None, 5 came"),
        ("source=None", "source expected a string, None came"),
        ("lora_targets=None", "lora_targets expected a tuple of strings, None came"),
        ("layers='rgb'", "layers expected a tuple of strings, 'rgb' came"),
        ("layers=('rgb', 5)", "layers expected a tuple of strings, ('rgb', 5) came"),
        ("layers=('rgb', 'rgb')", "layers expected names of layers, one or more, each once, "),
        ("default_layer='hsv'", "default_layer expected one of the layers, 'hsv' came"),
        ("sampling=None", "sampling expected a Sampling, for frames, None came"),
        ("sampling=5", "sampling expected a Sampling or None, 5 came"),
        ("sampling=Sampling(frames=0)", "sampling.frames expected a whole number above 0, 0 came"),
        ("sampling=Sampling(frames=3, fps=2.0, windows=2)", "sampling.windows expected a divisor of 3 frames, 2 came"),
    ],
)
def test_a_wrong_field_of_a_packages_card(wrong, message, vidsim, offer):
    offer(f"CARD = card({wrong})")
    place = "entry point point = 'offering:CARD' of package offering, card theirs: "
    check(vidsim, place, "theirs", "point")
    assert message in vidsim("models")[2]


def test_a_wrong_name(vidsim, offer):
    offer("CARD = card()\nobject.__setattr__(CARD, 'name', 5)")
    check(vidsim, "card ?: name expected a string, 5 came", "point")


@pytest.mark.parametrize(
    ("code", "value", "message"),
    [
        ("raise SystemExit(0)", "offering:CARD", "cannot be loaded: SystemExit: 0"),
        ("def f(): raise SystemExit('bye')", "offering:f", "cannot be loaded: SystemExit: bye"),
        ("def f():\n    raise RuntimeError('a\\nb')", "offering:f", "cannot be loaded: RuntimeError: a b"),
        (
            "def f():\n    yield card()\n    raise ValueError('late')",
            "offering:f",
            "cannot be loaded: ValueError: late",
        ),
        ("CARD = 7", "offering:CARD", "gives 7; expected an EncoderCard, several, or a function that returns them"),
        ("CARD = EncoderCard", "offering:CARD", "gives <class 'vidsim.encoders.base.EncoderCard'>; expected an Enc"),
        ("", "", "entry point point = '' of package offering: expected module:name, such as my_package:CARD"),
        ("", "offering:a b", "expected module:name, such as my_package:CARD"),
    ],
)
def test_an_entry_point_that_gives_no_card(code, value, message, vidsim, offer):
    offer(code, value)
    check(vidsim, message, "point")
    assert f"entry point point = {value!r} of package offering" in vidsim("models")[2]


@pytest.mark.parametrize("text", [b"[vidsim.encoders]\nno value\n", b"[vidsim.encoders]\npoint = offering:N\xff\n"])
def test_entry_points_that_cannot_be_read(text, vidsim, offer):
    offer().write_bytes(text)
    check(vidsim, "package offering")


def test_an_interrupt_is_one(vidsim, offer):
    offer("raise KeyboardInterrupt")
    assert vidsim("models")[0] == 130


def test_lists_are_tuples_and_good_cards_stand_beside_wrong_ones(vidsim, offer):
    offer("CARD = [card(layers=['rgb'], lora_targets=[]), card('other', licence=5)]")
    status, out, err = vidsim("models", "--family", "offering.code:Family")
    assert (status, [line.split()[0] for line in out.splitlines()[1:]]) == (0, ["theirs"])
    assert "card other: licence expected a string, 5 came" in err
    assert catalog.card("theirs").layers == ("rgb",)
    assert vidsim("models", "theirs")[0] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'name = "bad"\nx', "cannot be read as TOML: "),
        (b'name = "bad"\na = ' + b"[" * 800, "cannot be read as TOML: tables or lists are nested too deep\n"),
        (b'name = "bad"\nlike = "dino"\n', "checkpoint is missing; expected org/name of the hub"),
        (
            GOOD.replace('"good"', '"bad"').encode() + b'layers = { pattern = "l.{i}", depth = 100000000 }',
            "layers.depth expected at most 10,000 layers, 100000000 came",
        ),
        (
            GOOD.replace('"good"', '"bad"').encode() + b"options = { forward = { day = 2020-01-01 } }",
            "options.forward.day expected strings, finite numbers, true or false, lists or tables; datetime.date(2020,",
        ),
        (
            GOOD.replace('"good"', '"bad"').encode() + b"options = { init = { a = " + b"[" * 30 + b"]" * 30 + b" } }",
            "expected at most 20 tables and lists inside one another",
        ),
        (GOOD.replace('"good"', '"bad"').encode() + b"parameters = 1" + b"0" * 400, "parameters expected a whole num"),
        (GOOD.replace('"good"', '"bad"').encode() + b"fps = 1" + b"0" * 400, "fps expected a number above 0, 1000"),
        (b'name = "bad"\nlike = "dino"\ncheckpoint = "./a\\u0000b"', "checkpoint expected a path that can be followed"),
    ],
)
def test_a_broken_file(text, message, vidsim, cards):
    (cards / "broken.toml").write_bytes(text)
    check(vidsim, f"left out: {cards / 'broken.toml'}: ", "bad", "BROKEN")
    assert message in vidsim("models")[2]
    status, _, err = vidsim("models", "god")
    assert (status, err) == (
        2,
        "vidsim: no encoder named 'god'; did you mean 'good'? (1 left out, vidsim models says why)\n",
    )


def test_a_name_that_two_have_is_picked_for_neither(vidsim, cards, offer):
    offer("CARD = card('Good')")
    status, out, err = vidsim("models")
    assert (status, len(out.splitlines())) == (0, 1 + len(catalog.CARDS))
    first, second = err.splitlines()
    assert first.startswith(f"left out: {cards / 'good.toml'}: name 'good' is that of entry point point = ")
    assert second.endswith(f": name 'Good' is that of {cards / 'good.toml'}; expected another name")
    assert vidsim("models", "good")[::2] == (2, first.replace("left out", "vidsim") + "\n")


def test_a_byte_order_mark(vidsim, cards):
    (cards / "marked.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace('"good"', '"marked"').encode())
    assert vidsim("models", "marked")[::2] == (0, "")


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "cannot be loaded: SystemExit: 0"),
        (
            FAMILY.replace("self.card, self", "raise RuntimeError('no\\nroom'); self.card, self"),
            "made: RuntimeError: no",
        ),
        ("class Family: pass", "cannot be made: TypeError: Family() takes no arguments"),
        (
            "class Family:\n    def __init__(self, *_): pass\n    encode = 3",
            "cannot be used: Family has no card, provenance, prepare, encode(); expected card, provenance, prepare(",
        ),
        (
            FAMILY.replace('{"encoder": card.name}', "{'x': object}"),
            "cannot be used: provenance.x expected strings, ",
        ),
        (FAMILY.replace('{"encoder": card.name}', "5"), "cannot be used: provenance expected a dict, 5 came"),
    ],
)
def test_a_family_that_makes_no_encoder(family, message, vidsim, offer, clips, tmp_path):
    offer("CARD = card()", family=family)
    status, out, err = vidsim("extract", clips, "-e", "theirs", "--root", tmp_path / "root")
    assert (status, out) == (2, "")
    assert err.startswith("vidsim: family 'offering.code:Family' of theirs cannot be ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("extract", "clips", "--checkpoint"),
        ("index", "clips", "--checkpoint"),
        ("compare", "a", "b", "--checkpoint-a"),
        ("compare", "a", "b", "--checkpoint-b"),
        ("report", "--checkpoint-before"),
        ("report", "--checkpoint-after"),
    ],
)
@pytest.mark.parametrize("empty", ["", " "])
def test_a_checkpoint_of_no_name(words, empty, vidsim):
    status, out, err = vidsim(*words, empty)
    assert (status, out) == (2, "")
    assert err == f"vidsim: no checkpoint is named {empty!r}; expected a folder, or a zoo's file, or leave it out\n"


def test_a_family_that_cannot_prepare_a_frame(vidsim, offer, clips, tmp_path):
    offer("CARD = card()", family=FAMILY.replace("return frame", "raise ValueError('no frame for you')"))
    status, out, err = vidsim("extract", clips, "-e", "theirs", "--root", tmp_path / "root")
    assert (status, out) == (2, "")
    assert "the family 'offering.code:Family' of theirs has failed: ValueError: no frame for you" in err
    assert "Traceback" not in err


def test_a_family_that_returns_another_width_than_its_card_says(vidsim, offer, clips, tmp_path):
    returns = "import torch; return {layer: reduce(layer, torch.ones(len(batch), 2)).numpy() for layer in layers}"
    family = FAMILY.replace("return frame", "import torch; return torch.ones(3)").replace("return {}", returns)
    offer("CARD = card()", family=family)
    status, out, err = vidsim("extract", clips, "-e", "theirs", "--root", tmp_path / "root")
    assert (status, out) == (2, "")
    assert err == "vidsim: theirs has width 3, its layer rgb has 2; expected width 2 in its card\n"
    offer("CARD = [card('wide', width=2), card('any', width=0)]", family=family)
    for name in [name for name in sys.modules if name.partition(".")[0] == "offering"]:
        del sys.modules[name]
    for name in ("wide", "any"):
        assert vidsim("extract", clips, "-e", name, "--root", tmp_path / "root")[0] == 0
