import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from vidsim.encoders import catalog, user_cards
from vidsim.encoders.base import EncoderCard, Sampling
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


@pytest.fixture
def cards(tmp_path, monkeypatch):
    folder = tmp_path / "cards"
    folder.mkdir()
    monkeypatch.setenv("VIDSIM_CARDS", str(folder))
    return folder


def write(folder, text, name="mine.toml"):
    (folder / name).write_text(text)
    return folder / name


def test_a_whole_card(cards):
    write(cards, WHOLE)
    assert catalog.card("My-VideoMAE") == EncoderCard(
        name="my-videomae",
        family="video_transformer",
        modality="video",
        layers=("encoder.layer.0", "encoder.layer.1"),
        default_layer="encoder.layer.1",
        checkpoint="me/videomae-of-mine",
        revision="0123456789abcdef0123456789abcdef01234567",
        sampling=Sampling(frames=16),
        size=32,
        width=32,
        pooling="mean",
        licence="MIT",
        lora_targets=("query", "value"),
        architecture="VideoMAEModel",
        source=str(cards / "mine.toml"),
        options={"prefix_tokens": 0, "heads": ("classifier.", "fc_norm.")},
    )
    assert list(catalog.cards()) == [*catalog.CARDS, "my-videomae"]


def test_a_card_like_another_takes_what_it_does_not_say(cards):
    write(cards, 'name = "mine"\nlike = "timesformer-base"\ncheckpoint = "me/mine"\nfps = 12\nwindows = 2\n')
    usual, card = catalog.card("timesformer-base"), catalog.card("mine")
    assert card == replace(
        usual,
        name="mine",
        checkpoint="me/mine",
        revision=None,  # these are of the other's files
        licence="",
        source=str(cards / "mine.toml"),
        sampling=Sampling(frames=8, fps=12.0, windows=2),
    )


def test_a_sentence_encoder(cards):
    write(
        cards,
        'name = "s"\nfamily = "sentence"\ncheckpoint = "me/s"\nwidth = 64\n'
        'layers = { pattern = "0.model.encoder.layer.{i}", depth = 3 }\noptions = { plain = true }\n',
    )
    card = catalog.card("s")
    assert card.layers == (*(f"0.model.encoder.layer.{i}" for i in range(3)), "sentence_embedding")
    assert (card.default_layer, card.modality, card.pooling, card.extra) == (
        "sentence_embedding",
        "text",
        "mean",
        "text",
    )
    assert (card.sampling, card.size, dict(card.options)) == (None, None, {"plain": True})


@pytest.mark.parametrize("checkpoint", ["https://example.org/zoo/tuned.pyth", "./tuned.pyth"])
def test_a_model_of_one_file_does_not_take_the_file_of_the_one_it_is_like(checkpoint, cards):
    write(cards, f'name = "x"\nlike = "x3d-m"\ncheckpoint = "{checkpoint}"\n')
    card, usual = catalog.card("x"), catalog.card("x3d-m")
    assert card.options == {**usual.options, "file": "tuned.pyth"}
    assert card.checkpoint == (checkpoint if "://" in checkpoint else str(cards / "tuned.pyth"))
    assert (card.layers, card.width) == (usual.layers, usual.width)
    write(cards, 'name = "x"\nlike = "x3d-m"\ncheckpoint = "org/name"\n')
    with pytest.raises(VidsimError, match=r"checkpoint expected an address \(https://\) of one file, or a folder"):
        catalog.card("x")


def test_the_built_in_cards_options_are_those_a_card_may_have():
    for row in catalog.CARDS.values():
        legal = {key for key, (_, families) in user_cards.OPTIONS.items() if row.family in families}
        assert set(row.options) - {"package"} <= legal, row.name
        for key in set(row.options) - {"package"}:
            value, (kind, _) = row.options[key], user_cards.OPTIONS[key]
            assert user_cards.CHECKS[kind](list(value) if isinstance(value, tuple) else value), (row.name, key)
    assert {family for _, families in user_cards.OPTIONS.values() for family in families} <= set(catalog.FAMILIES)


@pytest.mark.parametrize("like", ["VideoMAE", "videomae-Base-finetuned-kinetics"])
def test_a_card_may_be_like_another_by_any_name(like, cards):
    write(cards, f'name = "mine"\nlike = "{like}"\ncheckpoint = "me/mine"\n')
    assert catalog.card("mine").layers == catalog.card("videomae").layers


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


def test_a_video_cnn_says_how_its_frames_are_normalised(cards):
    write(cards, CNN)
    assert catalog.card("my-x3d").options == {"file": "mine.pyth", "mean": 0, "std": 1.0, "trained_size": 160}
    for old, told in (("mean = 0, ", "mean is missing"), ("std = 1.0, ", "std is missing")):
        write(cards, CNN.replace(old, ""))
        with pytest.raises(VidsimError, match=f"options.{told}; expected a number"):
            catalog.cards()
    write(cards, CNN.replace("std = 1.0", "std = 0"))
    with pytest.raises(VidsimError, match=r"options\.std expected a number above 0, 0 came"):
        catalog.cards()


SENTENCE = """
name = "s"
family = "sentence"
checkpoint = "me/s"
width = 64
layers = { pattern = "0.model.encoder.layer.{i}", depth = 3 }
"""


@pytest.mark.parametrize(
    ("card", "wrong", "legal"),
    [
        (SENTENCE, "cls", "mean"),
        (SENTENCE, "flatten", "mean"),
        ('name = "q"\nlike = "qwen3-vl"\ncheckpoint = "me/q"\n', "flatten", "mean"),
        (CNN.replace('pooling = "mean"\n', ""), "cls", "mean, flatten"),
    ],
)
def test_a_family_has_its_poolings(card, wrong, legal, cards):
    write(cards, f'pooling = "{wrong}"\n{card}')
    with pytest.raises(VidsimError, match=f"mine.toml: pooling expected one of {legal}, '{wrong}' came"):
        catalog.cards()
    write(cards, f'pooling = "mean"\n{card}')
    assert list(catalog.cards().values())[-1].pooling == "mean"


@pytest.mark.parametrize(("prefix", "legal"), [("", True), ("options = { prefix_tokens = 0 }", False)])
def test_cls_of_video_text_is_its_token_in_front(prefix, legal, cards):
    write(cards, f'name = "x"\nlike = "xclip"\ncheckpoint = "me/x"\npooling = "cls"\n{prefix}')
    if legal:
        assert catalog.card("x").pooling == "cls"
        return
    with pytest.raises(VidsimError, match="pooling 'cls' takes a token in front of the patches"):
        catalog.cards()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("width = 192\n", "", None),
        ("width = 192\n", "width = 0\n", None),
        ('"https://example.org/zoo/mine.pyth"', '"/"', "options.file expected the name of the file that '/' is"),
        (
            "trained_size = 160",
            'file = "../a.pyth"',
            r"options.file expected the name of the file that .*, '\.\./a.pyth'",
        ),
        ('architecture = "X3D"\n', "", "architecture is missing; expected a network of the zoo, such as "),
        ("size = 182", 'size = 182\nrevision = "main"', "revision is a commit of the hub, and 'https.*' is not there"),
    ],
)
def test_cards_of_video_cnns(old, new, told, cards):
    assert CNN.count(old) == 1
    write(cards, CNN.replace(old, new))
    if told is None:
        assert catalog.card("my-x3d").width == 0
        return
    with pytest.raises(VidsimError, match=told):
        catalog.cards()


def test_a_card_folder_of_nobody_is_told(monkeypatch):
    monkeypatch.setenv("VIDSIM_CARDS", "~nosuchuser/cards")
    with pytest.raises(VidsimError, match="'~nosuchuser/cards' begins with a home folder that is not known here"):
        catalog.cards()


def test_layers_by_name(cards):
    listed = 'layers = ["encoder.layer.1", "encoder.layer.0"]\ndefault_layer = "encoder.layer.0"'
    write(cards, WHOLE.replace('layers = { pattern = "encoder.layer.{i}", depth = 2 }', listed))
    card = catalog.card("my-videomae")
    assert (card.layers, card.default_layer) == (("encoder.layer.1", "encoder.layer.0"), "encoder.layer.0")
    last = 'layers = { pattern = "encoder.layer.{i}", depth = 1, last = ["norm"] }'
    write(cards, WHOLE.replace('layers = { pattern = "encoder.layer.{i}", depth = 2 }', last))
    assert catalog.card("my-videomae").layers == ("encoder.layer.0", "norm")


def test_folders_of_cards(tmp_path, monkeypatch):
    monkeypatch.delenv("VIDSIM_CARDS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert user_cards.card_files() == []  # no folder there is no mistake
    home = tmp_path / "config" / "vidsim" / "cards"
    home.mkdir(parents=True)
    write(home, WHOLE)
    assert "my-videomae" in catalog.cards()
    for name in "ab":
        (tmp_path / name).mkdir()
        write(tmp_path / name, WHOLE.replace("my-videomae", name))
    monkeypatch.setenv("VIDSIM_CARDS", f"{tmp_path / 'b'}:{tmp_path / 'a'}")
    assert list(catalog.cards())[-2:] == ["b", "a"]
    assert "my-videomae" not in catalog.cards()
    monkeypatch.setenv("VIDSIM_CARDS", str(tmp_path / "none"))
    with pytest.raises(VidsimError, match=r"VIDSIM_CARDS names '.*none', which is no folder"):
        catalog.cards()
    assert catalog.card("timesformer-base").name == "timesformer-base"  # a broken card is in nobody's way


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "my-videomae"', "", "name is missing; expected the name"),
        (
            'name = "my-videomae"',
            'name = "a:b"',
            "name expected letters, digits and . _ -, such as my-model, 'a:b' came",
        ),
        (
            'name = "my-videomae"',
            'name = "VideoMAE"',
            "name 'VideoMAE' is that of a built-in encoder; expected another",
        ),
        ('name = "my-videomae"', 'name = "labse"', "name 'labse' is that of a built-in encoder; expected another name"),
        ('family = "video_transformer"', 'familly = "x"', "familly is not known; expected one of name, like, family, "),
        ('family = "video_transformer"', "", "family is missing; expected one of video_transformer, "),
        ('family = "video_transformer"', 'family = "vit"', "family expected one of video_transformer, .*, 'vit' came"),
        (
            'family = "video_transformer"',
            'like = "timesformr"',
            "like expected one of timesformer-base, .*'timesformr'",
        ),
        (
            'family = "video_transformer"',
            'family = "image"\nlike = "videomae"',
            "family expected video_transformer, which videomae-base-finetuned-kinetics is of, 'image' came",
        ),
        ('checkpoint = "me/videomae-of-mine"', 'checkpoint = "me/.."', "checkpoint expected org/name of the hub, or a"),
        (
            'pooling = "mean"',
            'pooling = "cls"',
            "pooling 'cls' takes a token in front of the patches; expected options.",
        ),
        ('checkpoint = "me/videomae-of-mine"', "", "checkpoint is missing; expected org/name of the hub, or a folder"),
        ('checkpoint = "me/videomae-of-mine"', 'checkpoint = "mine"', "checkpoint expected org/name of the hub, or a"),
        ('architecture = "VideoMAEModel"', "", "architecture is missing; expected a class of the upstream library"),
        ("frames = 16", "", "frames is missing; expected the frames that the model takes"),
        ("frames = 16", 'frames = "16"', "frames expected a whole number above 0, '16' came"),
        ("frames = 16", "frames = true", "frames expected a whole number above 0, True came"),
        ("frames = 16", "frames = 0", "frames expected a whole number above 0, 0 came"),
        ("frames = 16", "frames = 16\nwindows = 3", "windows expected a divisor of 16 frames, 3 came"),
        ("frames = 16", "frames = 16\nwindows = 2", "windows 2 came without fps, .*; expected both"),
        ("width = 32", "width = 0", "width expected the features of a token, above 0; 0 came"),
        (
            'checkpoint = "me/videomae-of-mine"',
            'checkpoint = "./weights"',
            "revision is a commit of the hub, and '.*weights' is not there; leave it out",
        ),
        (
            'checkpoint = "me/videomae-of-mine"',
            'checkpoint = "~nosuchuser/weights"',
            "checkpoint expected a path that can be followed, '~nosuchuser/weights' came",
        ),
        ("prefix_tokens = 0", "init = { heads = 3 }", "options.init.heads is not for the class of the model"),
        ("prefix_tokens = 0", "init = { folder = 'x' }", "options.init.folder is not for the class of the model"),
        ("prefix_tokens = 0", "prepared = 1", "options.prepared expected a table, 1 came"),
        ("prefix_tokens = 0", "prepared = { mean = 0.5 }", "options.prepared.mean expected a list of three numbers"),
        ("prefix_tokens = 0", "prepared = { mean = [0, nan, 0] }", "options.prepared.mean expected a list of three"),
        ("prefix_tokens = 0", "prepared = { resample = 6 }", "options.prepared.resample expected a Pillow filter"),
        ("prefix_tokens = 0", "prepared = { mode = 6 }", "options.prepared.mode is not known; expected one of mean, "),
        ("frames = 16", "frames = 16\nfps = nan", "fps expected a number above 0, nan came"),
        ("size = 32", "", "size is missing; expected the height and width of a frame in pixels"),
        ("width = 32", "", "width is missing; expected the features of a token"),
        ('pooling = "mean"', "", "pooling is missing; expected one of cls, mean, flatten"),
        ('pooling = "mean"', 'pooling = "max"', "pooling expected one of cls, mean, flatten, 'max' came"),
        ('licence = "MIT"', 'license = "MIT"', "license is not known; expected one of .*licence"),
        (
            'lora_targets = ["query", "value"]',
            'lora_targets = "query"',
            "lora_targets expected a list of strings, 'query'",
        ),
        (
            "prefix_tokens = 0",
            "prefix_tokens = true",
            "options.prefix_tokens expected a whole number, 0 or .*, True came",
        ),
        (
            "prefix_tokens = 0",
            "prefix_tokens = -1",
            "options.prefix_tokens expected a whole number, 0 or above, -1 came",
        ),
        ("prefix_tokens = 0", 'unused = "head"', "options.unused expected a list of strings, 'head' came"),
        ("prefix_tokens = 0", "init = []", "options.init expected a table, \\[\\] came"),
        ("prefix_tokens = 0", "trained_size = 0", "options.trained_size expected a whole number above 0, 0 came"),
        (
            "prefix_tokens = 0",
            "plain = true",
            "options.plain is not known to video_transformer; expected one of prefix_",
        ),
        (
            'heads = ["classifier.", "fc_norm."]',
            "heads = [1]",
            "options.heads expected a list of strings, \\[1\\] came",
        ),
        (
            "prefix_tokens = 0",
            "prefx = 0",
            "options.prefx is not known to video_transformer; expected one of .*heads, ",
        ),
        ('heads = ["classifier.", "fc_norm."]', 'heads = "classifier."', "options.heads expected a list of strings"),
        ("depth = 2", "depht = 2", "layers.depht is not known; expected one of pattern, depth, last"),
        (", depth = 2", "", "layers.depth is missing; expected a whole number above 0"),
        ("layer.{i}", "layer.i", "layers.pattern expected {i} where the number stands, 'encoder.layer.i' came"),
        (
            'layers = { pattern = "encoder.layer.{i}", depth = 2 }',
            "layers = []",
            "layers expected a list of strings, or a",
        ),
        ('layers = { pattern = "encoder.layer.{i}", depth = 2 }', "", "layers is missing; expected { pattern ="),
        ("depth = 2", 'depth = 2, last = ["encoder.layer.1"]', "layers names a layer twice"),
        (
            "frames = 16",
            'frames = 16\ndefault_layer = "norm"',
            "default_layer expected one of the layers .*, 'norm' came",
        ),
        ("frames = 16", "frames =", "cannot be read as TOML: "),
    ],
)
def test_a_wrong_card_is_told_with_file_key_and_what_is_legal(old, new, message, cards):
    assert WHOLE.count(old) == 1
    path = write(cards, WHOLE.replace(old, new))
    with pytest.raises(VidsimError, match=message) as told:
        catalog.cards()
    assert str(told.value).startswith(f"{path}: ")
    assert "\n" not in str(told.value)


def test_two_cards_of_one_name_are_refused(cards):
    first = write(cards, WHOLE, "a.toml")
    write(cards, WHOLE.replace("my-videomae", "My-VideoMAE"), "b.toml")
    with pytest.raises(VidsimError, match=rf"b\.toml: name 'My-VideoMAE' is that of {first}; expected another name"):
        catalog.cards()


def test_typos_find_ones_own_cards_too(cards):
    write(cards, WHOLE)
    with pytest.raises(VidsimError, match="no encoder named 'my-videoma'; did you mean 'my-videomae'"):
        catalog.card("my-videoma")


def test_a_card_loads_a_checkpoint_as_a_built_in_one_does(cards, publish, clips):
    made = publish("videomae-base-finetuned-kinetics")
    made.folder.rename(cards / "weights")
    write(cards, WHOLE.replace("me/videomae-of-mine", "./weights").replace('revision = "012345', '# "'))
    card = catalog.card("my-videomae")
    assert card.checkpoint == str(cards / "weights")
    resolved = catalog.resolve("my-videomae", offline=True)
    assert (resolved.source, resolved.folder, resolved.local) == ("folder", cards / "weights", None)
    batch = clips(made.card, 2)
    found = catalog.load(resolved, device="cpu").encode(batch, card.layers, lambda _, features: features)
    usual = catalog.resolve(made.card, checkpoint=str(cards / "weights"))
    expected = catalog.load(usual, device="cpu").encode(batch, card.layers, lambda _, features: features)
    for layer, vectors in expected.items():
        np.testing.assert_array_equal(found[layer], vectors)
    # what was embedded is told by the hash, wherever the folder is
    (cards / "weights").rename(cards / "elsewhere")
    with pytest.raises(VidsimError, match=r"the checkpoint of my-videomae is not there: no folder '.*weights'"):
        catalog.resolve("my-videomae")
    write(
        cards, (cards / "mine.toml").read_text().replace("./weights", "elsewhere").replace('"elsewhere', '"./elsewhere')
    )
    assert catalog.resolve("my-videomae").identity == resolved.identity
    with pytest.raises(VidsimError, match="the checkpoint of my-videomae is a folder: leave it out"):
        catalog.resolve("my-videomae", revision="main")


def test_options_that_shape_embeddings_are_told_apart(cards, publish):
    publish("videomae-base-finetuned-kinetics").folder.rename(cards / "weights")
    card = WHOLE.replace("me/videomae-of-mine", "./weights").replace('revision = "012345', '# "')

    def identity(old="", new=""):
        write(cards, card.replace(old, new))
        return catalog.resolve("my-videomae").identity

    usual = identity()
    assert usual["card"] == {"architecture": "VideoMAEModel", "prefix_tokens": 0}
    assert json.loads(json.dumps(usual)) == usual
    for new in ("prefix_tokens = 1", "init = { a = [1] }", "forward = { skip = true }", "trained_size = 56"):
        other = identity("prefix_tokens = 0", new)
        assert {key for key in usual if usual[key] != other[key]} == {"card"}
        assert json.loads(json.dumps(other)) == other
    changes = (('"fc_norm."]', '"fc_norm."], unused = ["pooler"]'), ('["classifier.", ', "["))
    changes = (*changes, ("prefix_tokens = 0", "prefix_tokens = 0, prepared = { resample = 2 }"))
    for old, new in changes:
        assert identity(old, new) == usual


def test_built_in_cards_have_nothing_of_their_own(publish):
    for name in catalog.CARDS:
        assert catalog._own(catalog.card(name)) == {}
    made = publish("timesformer-base")
    keys = catalog.resolve(made.card, checkpoint=str(made.folder)).identity.keys()
    assert sorted(keys) == sorted(
        ["encoder", "family", "version", "checkpoint", "weights", "config", "sampling", "size", "preprocess", "pooling"]
    )
    assert catalog._own(replace(made.card, options={**made.card.options, "prefix_tokens": 2}))["prefix_tokens"] == 2


@pytest.mark.parametrize("init", ["dtype = 'float16'", "config = 3", "nonsense = 1"])
def test_arguments_that_the_class_does_not_take_are_one_line(init, cards, publish):
    publish("videomae-base-finetuned-kinetics").folder.rename(cards / "weights")
    card = WHOLE.replace("me/videomae-of-mine", "./weights").replace('revision = "012345', '# "')
    write(cards, card.replace("prefix_tokens = 0", f"init = {{ {init} }}"))
    with pytest.raises(VidsimError, match="weights' cannot be loaded as VideoMAEModel: ") as told:
        catalog.load(catalog.resolve("my-videomae"), device="cpu")
    assert "\n" not in str(told.value)


def test_a_card_like_another_says_what_its_own_processor_does(cards, publish):
    made = publish("videomae-base-finetuned-kinetics")
    made.folder.rename(cards / "weights")
    path = cards / "weights" / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "image_mean": [0.5, 0.5, 0.5]}))
    like = 'name = "m"\nlike = "videomae"\ncheckpoint = "./weights"\nsize = 32\nwidth = 32\n'
    like += 'layers = { pattern = "encoder.layer.{i}", depth = 2 }\ndefault_layer = "encoder.layer.1"\n'
    like += f"parameters = {made.card.parameters}\n"
    write(cards, like)
    message = r"m expects frames prepared with mean 0\.485, .* has 0\.5, 0\.5, 0\.5; mend options\.prepared in its card"
    with pytest.raises(VidsimError, match=message):
        catalog.load(catalog.resolve("m"), device="cpu")
    write(cards, f"{like}options = {{ prepared = {{ mean = [0.5, 0.5, 0.5] }} }}\n")
    assert catalog.load(catalog.resolve("m"), device="cpu").preprocess.mean == (0.5, 0.5, 0.5)


def test_an_architecture_that_is_none_is_told(cards, publish):
    publish("videomae-base-finetuned-kinetics").folder.rename(cards / "weights")
    for wrong in ("VideoMAEModle", "logging"):
        whole = WHOLE.replace("me/videomae-of-mine", "./weights").replace('revision = "012345', '# "')
        write(cards, whole.replace("VideoMAEModel", wrong))
        with pytest.raises(VidsimError, match=f"transformers has no model '{wrong}'"):
            catalog.load(catalog.resolve("my-videomae"), device="cpu")


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
    assert not user_cards._offered()
    assert user_cards._from_packages() == []


@pytest.mark.parametrize(
    ("code", "what", "message"),
    [
        ("", "somebodys:missing", "entry point mine = 'somebodys:missing' cannot be loaded: AttributeError: "),
        ("import nothing_of_that_name", "somebodys:CARD", "cannot be loaded: ModuleNotFoundError: No module named"),
        ("CARD = 7", "somebodys:CARD", "cannot be loaded: TypeError: 'int' object is not iterable"),
        (
            "CARD = ['timesformer']",
            "somebodys:CARD",
            "gives 'timesformer'; expected EncoderCards with a name and layers",
        ),
        (PACKAGE.replace("mean-colour", "LaBSE"), "somebodys:CARD", "name 'LaBSE' is that of a built-in encoder"),
        (
            PACKAGE.replace('layer="rgb"', 'layer="hsv"'),
            "somebodys:CARD",
            "default_layer of mean-colour is 'hsv', which",
        ),
    ],
)
def test_a_package_that_offers_something_else_is_named(code, what, message, package):
    site = package(what)
    (site / "somebodys" / "__init__.py").write_text(code)
    with pytest.raises(VidsimError, match=message) as told:
        catalog.cards()
    assert str(told.value).startswith("entry point mine")


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("colours", "no family 'colours' for mean-colour; expected one of image, .*, or module:Class of a package"),
        (
            "somebodys.color:MeanColour",
            "family 'somebodys.color:MeanColour' of mean-colour cannot be loaded: No module",
        ),
        ("somebodys.colour:Mean", "family 'somebodys.colour:Mean' of mean-colour cannot be loaded: module"),
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
