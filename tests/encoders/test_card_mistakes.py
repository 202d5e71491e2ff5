"""Mistakes in cards of one's own are told in one line, with the key and what is legal."""

import pytest
from tiny_cards import CNN, WHOLE, use_it, write

from vidsim.encoders import catalog
from vidsim.errors import VidsimError

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
        use_it()
    write(cards, f'pooling = "mean"\n{card}')
    assert list(catalog.cards().values())[-1].pooling == "mean"


@pytest.mark.parametrize(
    ("card", "key", "family"),
    [
        (SENTENCE, "frames = 8", "sentence"),
        (SENTENCE, "fps = 2", "sentence"),
        (SENTENCE, "windows = 1", "sentence"),
        (SENTENCE, "size = 224", "sentence"),
        (SENTENCE, 'architecture = "BertModel"', "sentence"),
        ('name = "q"\nlike = "qwen3-vl"\ncheckpoint = "me/q"\n', "size = 224", "vision_language"),
    ],
)
def test_a_key_that_the_family_does_not_read_is_refused(card, key, family, cards):
    path = write(cards, f"{key}\n{card}")
    with pytest.raises(VidsimError) as told:
        use_it()
    assert str(told.value) == f"{path}: {key.split()[0]} has no effect with {family}; leave it out"
    write(cards, card)
    assert catalog.own_cards().left_out == ()


@pytest.mark.parametrize("head", ["embeddings.", "encoder.layer.1.", "videomae.encoder."])
def test_heads_that_the_encoder_needs_are_refused(head, cards, publish):
    publish("videomae-base-finetuned-kinetics").folder.rename(cards / "weights")
    card = WHOLE.replace("me/videomae-of-mine", "./weights").replace('revision = "012345', '# "')
    write(cards, card.replace('"fc_norm."]', f'"fc_norm.", "{head}"]'))
    with pytest.raises(VidsimError, match=f"options.heads of the card names '{head}', and VideoMAEModel needs e"):
        catalog.load(catalog.resolve("my-videomae"), device="cpu")


@pytest.mark.parametrize(("prefix", "legal"), [("", True), ("options = { prefix_tokens = 0 }", False)])
def test_cls_of_video_text_is_its_token_in_front(prefix, legal, cards):
    write(cards, f'name = "x"\nlike = "xclip"\ncheckpoint = "me/x"\npooling = "cls"\n{prefix}')
    if legal:
        assert catalog.card("x").pooling == "cls"
        return
    with pytest.raises(VidsimError, match="pooling 'cls' takes a token in front of the patches"):
        use_it()


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
        use_it()


def test_a_card_folder_of_nobody_is_told(monkeypatch):
    monkeypatch.setenv("VIDSIM_CARDS", "~nosuchuser/cards")
    with pytest.raises(VidsimError, match="'~nosuchuser/cards' begins with a home folder that is not known here"):
        catalog.cards()


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
        ("prefix_tokens = 0", "init = { config = 3 }", "options.init.config is not for the class of the model"),
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
        use_it()
    assert str(told.value).startswith(f"{path}: ")
    assert "\n" not in str(told.value)


def test_two_cards_of_one_name_are_refused(cards):
    first = write(cards, WHOLE, "a.toml")
    second = write(cards, WHOLE.replace("my-videomae", "My-VideoMAE"), "b.toml")
    assert [offer.reason for offer in catalog.own_cards().left_out] == [
        f"{first}: name 'my-videomae' is that of {second}; expected another name",
        f"{second}: name 'My-VideoMAE' is that of {first}; expected another name",
    ]
    with pytest.raises(VidsimError, match=rf"a\.toml: name 'my-videomae' is that of {second}"):
        catalog.card("MY-VIDEOMAE")


@pytest.mark.parametrize("init", ["dtype = 'float16'", "hidden_size = 'a'", "nonsense = 1"])
def test_arguments_that_the_class_does_not_take_are_one_line(init, cards, publish):
    publish("videomae-base-finetuned-kinetics").folder.rename(cards / "weights")
    card = WHOLE.replace("me/videomae-of-mine", "./weights").replace('revision = "012345', '# "')
    write(cards, card.replace("prefix_tokens = 0", f"init = {{ {init} }}"))
    with pytest.raises(VidsimError, match="weights' cannot be loaded as VideoMAEModel: ") as told:
        catalog.load(catalog.resolve("my-videomae"), device="cpu")
    assert "\n" not in str(told.value)
    assert str(told.value).endswith(f"; mend {init.split()[0]} in options.init of the card")


@pytest.mark.parametrize(
    ("init", "said"),
    [
        (
            "hidden_size = 64",
            "; options.init of the card overrides hidden_size of '{config}': either that or a file is wrong",
        ),
        (
            "num_hidden_layers = 9",
            "; options.init of the card overrides num_hidden_layers of '{config}': either that or a file is wrong",
        ),
        (
            "num_frames = 8, tubelet_size = 1",
            "; options.init of the card overrides num_frames, tubelet_size of '{config}': either that or a file is "
            "wrong",
        ),
        ("num_frames = 8", "expects frames 16, and options.init.num_frames of its card says 8; mend one of the two"),
        ("image_size = 64", "expects image size 32, and options.init.image_size of its card says 64; mend one of the"),
        ("hidden_act = 'no'", "; expected config.json and weights as published, and hidden_act in options.init of the"),
    ],
)
def test_what_init_overrides_is_told_to_be_the_cards(init, said, cards, publish):
    publish("videomae-base-finetuned-kinetics").folder.rename(cards / "weights")
    card = WHOLE.replace("me/videomae-of-mine", "./weights").replace('revision = "012345', '# "')
    write(cards, card.replace("prefix_tokens = 0", f"init = {{ {init} }}"))
    with pytest.raises(VidsimError) as told:
        catalog.load(catalog.resolve("my-videomae"), device="cpu")
    assert said.format(config=cards / "weights" / "config.json") in str(told.value)
    assert "config.json' are not as published" not in str(told.value)
    write(cards, card.replace("prefix_tokens = 0", "init = { num_frames = 16, num_attention_heads = 2 }"))
    assert catalog.load(catalog.resolve("my-videomae"), device="cpu").model.config.num_attention_heads == 2


def test_an_architecture_that_is_none_is_told(cards, publish):
    publish("videomae-base-finetuned-kinetics").folder.rename(cards / "weights")
    for wrong in ("VideoMAEModle", "logging"):
        whole = WHOLE.replace("me/videomae-of-mine", "./weights").replace('revision = "012345', '# "')
        write(cards, whole.replace("VideoMAEModel", wrong))
        with pytest.raises(VidsimError, match=f"transformers has no model '{wrong}'"):
            catalog.load(catalog.resolve("my-videomae"), device="cpu")
