import json
import re
import subprocess
import sys

import pytest
from tiny_adapters import BASE

from vidsim.adapt.manifest import Manifest
from vidsim.encoders import catalog

from judges import write_csv


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Keep the hub's cache and the user's cards of this machine out."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "cards").mkdir()
    monkeypatch.setenv("VIDSIM_CARDS", str(tmp_path / "cards"))
    return tmp_path


def listed(vidsim, *filters):
    status, out, err = vidsim("models", "--json", *filters)
    assert (status, err) == (0, "")
    return json.loads(out)


def test_the_list_has_every_encoder_and_its_facts(vidsim):
    found = {one["name"]: one for one in listed(vidsim)}
    assert list(found) == list(catalog.CARDS)
    for name, card in catalog.CARDS.items():
        one = found[name]
        assert (one["family"], one["parameters"], one["licence"]) == (card.family, card.parameters, card.licence)
        assert one["layers"] == list(card.layers)
        assert one["checkpoint"] == card.checkpoint
        assert one["lora_targets"] == list(card.lora_targets)
    assert found["timesformer-base"]["sampling"] == {"frames": 8, "fps": None, "windows": 1}
    assert found["timesformer-base"]["dims"] == [768]
    assert found["distiluse-base-multilingual-cased-v1"]["dims"] == [768, 512]
    assert found["motion-energy"]["dims"] == []
    assert (found["motion-energy"]["cached"], found["motion-energy"]["copy"]) == (True, "none")
    assert (found["timesformer-base"]["cached"], found["timesformer-base"]["copy"]) == (False, None)


def test_the_table_says_the_same(vidsim):
    status, out, err = vidsim("models")
    assert (status, err) == (0, "")
    head, *rows = out.splitlines()
    expected = ["name", "family", "parameters", "licence", "frames", "layers", "dims", "cached", "checkpoint"]
    assert head.split() == expected
    assert len(rows) == len(catalog.CARDS)
    (row,) = (row for row in rows if row.startswith("timesformer-base "))
    told = row.split("  ")
    assert [cell.strip() for cell in told if cell.strip()] == [
        *("timesformer-base", "video_transformer", "121.3 M", "CC-BY-NC-4.0", "8", "13", "768", "no"),
        "facebook/timesformer-base-finetuned-k400",
    ]
    assert {row.index(card) for row, card in zip(rows, (c.family for c in catalog.CARDS.values()), strict=True)} == {
        head.index("family")
    }


@pytest.mark.parametrize(
    ("filters", "right"),
    [
        (("--family", "sentence"), lambda card: card.family == "sentence"),
        (("--family", "Video_CNN"), lambda card: card.family == "video_cnn"),
        (("--modality", "image"), lambda card: card.modality == "image"),
        (("--search", "ROBERTA"), lambda card: "roberta" in f"{card.name} {card.checkpoint}".lower()),
        (("-s", "2102.05095"), lambda card: card.name == "timesformer-base"),
        (("--family", "sentence", "-s", "mpnet"), lambda card: card.family == "sentence" and "mpnet" in card.name),
        (("--family", "image", "-s", "no such thing"), lambda _: False),
    ],
)
def test_filters(filters, right, vidsim):
    expected = [name for name, card in catalog.CARDS.items() if right(card)]
    assert [one["name"] for one in listed(vidsim, *filters)] == expected
    status, out, _ = vidsim("models", *filters)
    assert status == 0
    if expected:
        assert [line.split()[0] for line in out.splitlines()[1:]] == expected
    else:
        assert out == "no encoder is like that; vidsim models lists all\n"


def test_cached_lists_what_works_without_network(vidsim, places):
    before = {one["name"] for one in listed(vidsim, "--cached")}
    assert "motion-energy" in before
    assert "clip-vit-b-32" not in before
    card = catalog.card("clip-vit-b-32")
    folder = places / "hub" / "models--openai--clip-vit-base-patch32" / "snapshots" / card.revision
    folder.mkdir(parents=True)
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    after = {one["name"]: one for one in listed(vidsim, "--cached")}
    assert set(after) - before == {"clip-vit-b-32"}
    assert (after["clip-vit-b-32"]["copy"], after["clip-vit-b-32"]["folder"]) == ("hub", str(folder))


def test_a_card_says_what_there_is_to_know(vidsim):
    status, out, err = vidsim("models", "TimeSformer-Base")
    assert (status, err) == (0, "")
    for line in (
        "sampling:     8 frames, equally spaced over the clip",
        "size:         224 x 224 pixels",
        "parameters:   121,258,752",
        "licence:      CC-BY-NC-4.0",
        "published:    Bertasius, Wang and Torresani 2021, arXiv:2102.05095",
        "revision:     8aaf40ea7d3d282dcb0a5dea01a198320d15d6c0",
        "cached:       no",
        "LoRA targets: qkv, attention.output.dense, temporal_attention.output.dense",
        "layers (13):",
        "  encoder.layer.11",
        "  layernorm  (default: what index and search use)",
    ):
        assert line in out.splitlines(), line
    assert "hf download facebook/timesformer-base-finetuned-k400 --revision 8aaf40ea7d3d282d" in out
    assert "--checkpoint FOLDER" in out


def test_a_card_says_whether_its_lora_targets_can_be_trained(vidsim):
    told = {
        name: re.search("LoRA targets: (.*)", vidsim("models", name)[1])[1] for name in ("xclip", "qwen3-vl", "dino")
    }
    assert told == {
        "xclip": "96 modules (--json lists them)",
        "qwen3-vl": "q_proj, k_proj, v_proj, o_proj",
        "dino": "q_proj, k_proj, v_proj, o_proj",
    }
    assert len(json.loads(vidsim("models", "xclip", "--json")[1])["lora_targets"]) == 96


def test_cards_of_other_kinds(vidsim):
    _, out, _ = vidsim("models", "motion-energy")
    assert "72 frames, 24 frames/s, in 3 windows" in out
    assert "works without network" in out
    _, out, _ = vidsim("models", "all-mpnet-base-v1")
    assert "pip install 'vidsim[text]'" in out
    _, out, _ = vidsim("models", "roberta-large-mnli", "--json")
    one = json.loads(out)
    assert (one["options"], one["cached"]) == ({"plain": True, "heads": ["classifier."]}, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("timesformer-bas",), "no encoder named 'timesformer-bas'; did you mean 'timesformer-base'?"),
        (("sentence",), "'sentence' is no encoder; vidsim models --family sentence lists some"),
        (("Video",), "'Video' is no encoder; vidsim models --modality video lists some"),
        (("--family", "vit"), "--family 'vit': expected one of adapter, image, "),
        (("--modality", "sound"), "--modality 'sound': expected one of image, text, video"),
        (("timesformer-base", "--cached"), "--cached filters the list; leave it out to see the card"),
        (("timesformer-base", "-s", "x"), "--search filters the list; leave it out to see the card"),
    ],
)
def test_bad_input_is_one_line(arguments, message, vidsim):
    status, out, err = vidsim("models", *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_models_of_ones_own_are_listed(vidsim, places):
    (places / "cards" / "mine.toml").write_text(
        'name = "mine"\nlike = "timesformer-base"\ncheckpoint = "./weights"\nlicence = "MIT"\n'
    )
    (one,) = listed(vidsim, "-s", "mine")
    assert (one["name"], one["cached"], one["checkpoint"]) == ("mine", False, str(places / "cards" / "weights"))
    _, out, _ = vidsim("models", "mine")
    assert f"card:         {places / 'cards' / 'mine.toml'}\n" in out
    assert "published:" not in out
    assert "cached:       no\n" in out
    assert "offline:      put the checkpoint where the card says\n" in out
    weights = places / "cards" / "weights"
    weights.mkdir()
    for file in ("config.json", "preprocessor_config.json", "model.safetensors"):
        (weights / file).write_text("{}")
    _, out, _ = vidsim("models", "mine")
    assert f"cached:       where the card says: {weights}\n" in out
    (places / "cards" / "mine.toml").write_text('name = "mine"\nlike = "timesformer-base"\n')
    status, out, err = vidsim("models")
    assert (status, len(out.splitlines())) == (0, 1 + len(catalog.CARDS))
    assert err.startswith(f"left out: {places / 'cards' / 'mine.toml'}: checkpoint is missing")


def test_where_a_file_of_the_zoo_is(vidsim, places, monkeypatch):
    monkeypatch.setenv("VIDSIM_CACHE", str(places / "own"))
    monkeypatch.setenv("TORCH_HOME", str(places / "torch"))

    def told(name):
        status, out, _ = vidsim("models", name)
        assert status == 0
        return next(line for line in out.splitlines() if line.startswith("cached:")).split(maxsplit=1)[1]

    def put(*parts):
        file = places.joinpath(*parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        return file

    (places / "cards" / "a.toml").write_text('name = "there"\nlike = "x3d-m"\ncheckpoint = "./X3D_M.pyth"\n')
    (places / "cards" / "b.toml").write_text(
        'name = "fetched"\nlike = "x3d-m"\ncheckpoint = "https://example.org/X3D_M.pyth"\n'
    )
    assert [told(name) for name in ("x3d-m", "there", "fetched")] == ["no"] * 3
    file = put("torch", "hub", "checkpoints", "X3D_M.pyth")
    assert told("x3d-m") == f"in torch.hub's cache: {file}"
    assert [told(name) for name in ("there", "fetched")] == ["no"] * 2  # it is not theirs, for all its name
    file = put("own", "zoo", "dl.fbaipublicfiles.com", "pytorchvideo", "model_zoo", "kinetics", "X3D_M.pyth")
    assert told("x3d-m") == f"in vidsim's cache: {file}"
    file = put("own", "zoo", "example.org", "X3D_M.pyth")
    assert told("fetched") == f"in vidsim's cache: {file}"
    file = put("cards", "X3D_M.pyth")
    assert told("there") == f"where the card says: {file}"
    assert [one["copy"] for one in listed(vidsim, "-s", "X3D_M")] == ["zoo", "folder", "zoo"]


def test_short_names(vidsim):
    _, out, _ = vidsim("models", "qwen3-vl")
    assert "also called:  qwen3-vl" in out.splitlines()
    _, out, _ = vidsim("models", "LaBSE")
    assert "also called" not in out
    found = {one["name"]: one["aliases"] for one in listed(vidsim)}
    assert {alias: name for name, aliases in found.items() for alias in aliases} == catalog.ALIASES
    assert [one["name"] for one in listed(vidsim, "-s", "xclip")] == ["xclip-base-patch32"]


def test_names_cannot_break_the_table(vidsim, places):
    (places / "cards" / "mine.toml").write_text(
        'name = "mine"\nlike = "timesformer-base"\ncheckpoint = "me/mine"\nlicence = "a\\nb"\n'
    )
    _, out, _ = vidsim("models", "-s", "mine")
    assert len(out.splitlines()) == 2
    assert "a\\nb" in out


def test_a_terminal_gets_lines_that_fit(vidsim, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout.__class__, "isatty", lambda _: True, raising=False)
    _, out, _ = vidsim("models")
    assert {len(line) for line in out.splitlines()} <= set(range(61))
    assert out.splitlines()[1].endswith("…")


def test_nothing_slow_is_imported():
    slow = (
        *("torch", "numpy", "jaxtyping", "rich", "transformers", "huggingface_hub", "pyarrow"),
        *("pydantic", "importlib.metadata"),
    )
    for arguments, never in (
        (["models"], (*slow, "typer")),
        (["models", "--json"], (*slow, "typer")),
        (["models", "LaBSE"], slow),
    ):
        program = (
            f"import sys\nfrom vidsim.cli import main\ntry:\n    main({arguments})\nexcept SystemExit:\n    pass\n"
            f"print([m for m in {never} if m in sys.modules], file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stderr == "[]\n"


@pytest.mark.parametrize("root", ["", "roots", "~/roots"])
@pytest.mark.parametrize("json", [(), ("--json",)])
def test_the_quick_list_is_that_of_the_parser(root, json, vidsim, places, monkeypatch):
    monkeypatch.chdir(places)
    monkeypatch.setenv("HOME", str(places))
    monkeypatch.setenv("VIDSIM_ROOT", root)
    (places / "cards" / "wrong.toml").write_text("name = 3")
    for place in ("indexes", "roots"):  # adapters without a word in their manifests, each of which is complained about
        (places / place / "adapters" / f"of-{place}").mkdir(parents=True)
        (places / place / "adapters" / f"of-{place}" / "vidsim.json").write_text("{}")
    quick, parsed = vidsim("models", *json), vidsim("models", *json, "--search", "")
    assert quick == parsed
    assert quick[2].count("left out: ") == 2
    assert ("of-roots" if root else "of-indexes") in quick[2]


@pytest.mark.parametrize("name", ["mine copy", "_mine", "größe"])
def test_an_adapter_in_a_folder_of_no_such_name_is_left_out_and_told(name, vidsim, places, monkeypatch):
    monkeypatch.chdir(places)
    for one in ("mine", name, ".draft-mine"):
        folder = places / "indexes" / "adapters" / one
        folder.mkdir(parents=True)
        Manifest(
            name="mine",
            base={**BASE, "encoder": "all-MiniLM-L6-v2"},
            layer="sentence_embedding",
            head=0,
            files={},
            recipe={},
            data={},
            versions={},
            seed=0,
            parameters=5,
            curve=[],
        ).write(folder)
    status, out, err = vidsim("models", "--family", "adapter")
    assert (status, [line.split()[0] for line in out.splitlines()]) == (0, ["name", "mine"])
    said = (
        f"the adapter in 'indexes/adapters/{name}' cannot be called so; give its folder a name of letters, digits, "
        "'.', '_' and '-', a letter or a digit first\n"
    )
    assert err == f"left out: {said}"
    assert vidsim("models", name) == (2, "", f"vidsim: {said}")
    write_csv(places / "captions.csv", ["id", "caption"], [["a", "a quarrel"]])
    assert vidsim("extract", "captions.csv", "--encoder", name) == (2, "", f"vidsim: {said}")


def test_a_name_that_no_file_can_have_is_that_of_no_encoder(vidsim, places):
    (places / "indexes" / "adapters" / "mine").mkdir(parents=True)
    name = "x" * 300
    for verb in (("models", name), ("extract", "clips", "--encoder", name)):
        status, out, err = vidsim(*verb, "--root", places / "indexes")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert err.startswith(f"vidsim: no encoder named '{name}'; there are timesformer-base, ")


def test_no_adapter_is_no_wrong_family(vidsim, places):
    answer = vidsim("models", "--family", "adapter", "--root", places / "none")
    assert answer == (0, "no encoder is like that; vidsim models lists all\n", "")


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -c 'from vidsim.cli import main; main([\"models\"])' | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout == "141\n"
