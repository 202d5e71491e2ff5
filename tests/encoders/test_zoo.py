import hashlib
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import save_file
from zoo_files import write_zoo_file

from vidsim.encoders import catalog
from vidsim.encoders.zoo import fetched_file, find_file, how_to_get, in_zoo, locate_file
from vidsim.errors import CheckpointUnavailable, VidsimError

PAGES = {"login": b"\n<!DOCTYPE html>\n<html>Please log in</html>", "error": b'{"error": "expired"}', "nothing": b""}
"""What comes with status 200 where a checkpoint was asked for."""


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "cache"


@pytest.fixture
def zoo(tmp_path):
    """Serve a zoo file on the loopback interface; ``answers`` says how, ``asked`` counts."""

    class Zoo:
        made = write_zoo_file(tmp_path / "served", "x3d-xs")
        answers = "whole"
        asked = 0

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            Zoo.asked += 1
            if Zoo.answers == "forbidden":
                self.send_error(403)
                return
            body = PAGES.get(Zoo.answers, Zoo.made.path.read_bytes())
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"abc"')
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if Zoo.answers == "half" else body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Zoo.card = replace(Zoo.made.card, checkpoint=f"http://127.0.0.1:{server.server_port}/kinetics/X3D_XS.pyth")
    yield Zoo
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_fetched_once_and_noted(zoo, caches):
    resolved = catalog.resolve(zoo.card)
    again = catalog.resolve(zoo.card, offline=True)
    assert zoo.asked == 1
    assert resolved == again
    assert resolved.source == "zoo"
    assert resolved.folder == fetched_file(zoo.card) == caches / "zoo" / "127.0.0.1" / "kinetics" / "X3D_XS.pyth"
    assert resolved.folder.read_bytes() == zoo.made.path.read_bytes()
    sha256 = hashlib.sha256(zoo.made.path.read_bytes()).hexdigest()
    assert resolved.weights_hash == sha256
    note = json.loads((resolved.folder.parent / "X3D_XS.pyth.json").read_text())
    assert note == {
        "url": zoo.card.checkpoint,
        "etag": '"abc"',
        "last_modified": None,
        "bytes": zoo.made.path.stat().st_size,
        "sha256": sha256,
    }
    assert sorted(path.name for path in resolved.folder.parent.iterdir()) == ["X3D_XS.pyth", "X3D_XS.pyth.json"]
    catalog.load(resolved, device="cpu")


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ("forbidden", r"127\.0\.0\.1 answers \(HTTP Error 403"),
        ("half", r"cannot be reached \(.*it sent .* of .* bytes"),
        ("login", r"127\.0\.0\.1 answers \(with no checkpoint: it begins '\\n<!DOCTYPE html>.*the page of a login\?\)"),
        ("error", r"127\.0\.0\.1 answers \(with no checkpoint: it begins '\{\"error\": \"expired\"\}'"),
        ("nothing", r"127\.0\.0\.1 answers \(with an empty file\)"),
    ],
)
def test_a_broken_download_leaves_nothing_and_says_how_else(answers, told, zoo, caches):
    zoo.answers = answers
    with pytest.raises(CheckpointUnavailable, match=told) as error:
        catalog.resolve(zoo.card)
    assert "no weights for x3d-xs: X3D_XS.pyth is not on this machine" in str(error.value)
    assert f"fetch {zoo.card.checkpoint} where there is network, and give --checkpoint FILE" in str(error.value)
    assert str(fetched_file(zoo.card)) in str(error.value)
    assert "motion-energy works offline" in str(error.value)
    assert "\n" not in str(error.value)
    assert [path for path in caches.rglob("*") if path.is_file()] == []
    zoo.answers = "whole"
    assert catalog.resolve(zoo.card).source == "zoo"


def test_the_zoo_is_not_asked_offline(zoo):
    with pytest.raises(CheckpointUnavailable, match="was not to be asked"):
        catalog.resolve(zoo.card, offline=True)
    assert zoo.asked == 0


def test_an_unreachable_zoo_is_one_line():
    card = replace(catalog.card("i3d-r50"), checkpoint="http://127.0.0.1:1/I3D_8x8_R50.pyth")
    with pytest.raises(
        CheckpointUnavailable, match=r"I3D_8x8_R50\.pyth is not on this machine .* cannot be reached"
    ) as error:
        catalog.resolve(card)
    assert "\n" not in str(error.value)


def test_an_address_with_other_letters_is_one_line():
    card = replace(catalog.card("i3d-r50"), checkpoint="http://127.0.0.1:1/é.pyth")
    with pytest.raises(CheckpointUnavailable, match="cannot be reached") as error:
        catalog.resolve(card)
    assert "\n" not in str(error.value)


def test_a_file_in_safetensors_is_fetched_too(zoo):
    save_file(zoo.made.state, zoo.made.path, metadata={"format": "pt"})
    card = replace(zoo.card, checkpoint=zoo.card.checkpoint.replace(".pyth", ".safetensors"))
    found = catalog.load(catalog.resolve(card), device="cpu").model.state_dict()
    assert found.keys() == zoo.made.state.keys()
    assert all(torch.equal(value, zoo.made.state[name]) for name, value in found.items())


def test_addresses_that_differ_in_the_query_alone_have_each_their_file(caches):
    row = catalog.card("x3d-xs")
    cards = [replace(row, checkpoint=f"https://drive.org/uc?id={name}") for name in ("a", "b")]
    places = [fetched_file(card) for card in (*cards, replace(row, checkpoint="https://drive.org/uc"))]
    assert len(set(places)) == 3
    assert places[2] == caches / "zoo" / "drive.org" / "uc"
    places[0].parent.mkdir(parents=True)
    places[0].touch()
    assert [find_file(card) for card in cards] == [places[0], None]


def test_a_file_that_has_changed_since_is_refused(zoo):
    path = catalog.resolve(zoo.card).folder
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(VidsimError, match=r"has changed since it was fetched .* delete it and 'X3D_XS\.pyth\.json'"):
        catalog.resolve(zoo.card)


@pytest.mark.parametrize(
    "place", ["cache/zoo/dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics", "torch/hub/checkpoints"]
)
def test_copies_put_there_by_hand_or_by_torch_hub_are_found(place, tmp_path):
    made = write_zoo_file(tmp_path / place, "x3d-s")
    assert find_file(made.card) == made.path
    resolved = catalog.resolve(made.card, offline=True)
    assert (resolved.source, resolved.folder, resolved.local) == ("zoo", made.path, None)


def test_a_file_or_its_folder_may_be_given(tmp_path):
    made = write_zoo_file(tmp_path / "mine", "x3d-xs")
    renamed = made.path.with_name("mine.pt")
    renamed.write_bytes(made.path.read_bytes())
    found = [catalog.resolve(made.card, checkpoint=str(given)) for given in (made.path, made.path.parent, renamed)]
    assert {(one.source, one.weights_hash, one.config_hash) for one in found} == {
        ("folder", found[0].weights_hash, "none")
    }
    assert found[0].local == found[1].local == str(made.path)
    assert found[0].identity == found[2].identity
    # a card of one's own
    for place in (made.path, made.path.parent):
        own = replace(made.card, checkpoint=str(place))
        assert find_file(own) == made.path
        assert locate_file(own) == ("folder", made.path, None)
        assert catalog.resolve(own).identity["checkpoint"] is None


@pytest.mark.parametrize("beside", ['{"epochs": 3}', "[]", '{"sha256": "0", "url": "x"}', "no JSON"])
def test_what_lies_beside_a_file_of_ones_own_is_no_note(beside, tmp_path):
    made = write_zoo_file(tmp_path / "mine", "x3d-xs")
    made.path.with_name(f"{made.path.name}.json").write_text(beside)
    assert catalog.resolve(made.card, checkpoint=str(made.path)).folder == made.path
    assert catalog.resolve(replace(made.card, checkpoint=str(made.path))).folder == made.path


@pytest.mark.parametrize("note", ["[]", '{"sha256": 3}', "no JSON"])
def test_a_damaged_note_is_one_line(note, zoo):
    path = catalog.resolve(zoo.card).folder
    path.with_name(f"{path.name}.json").write_text(note)
    with pytest.raises(VidsimError, match=r"X3D_XS\.pyth") as told:
        catalog.resolve(zoo.card)
    assert "\n" not in str(told.value)


def test_a_home_folder_that_is_not_known_is_told(monkeypatch):
    with pytest.raises(VidsimError, match=r"^'~nobody-here/x' begins with a home folder that is not known here; write"):
        catalog.resolve("x3d-xs", checkpoint="~nobody-here/x")
    monkeypatch.setenv("TORCH_HOME", "~nobody-here/x")
    with pytest.raises(VidsimError, match="'~nobody-here/x' begins with a home folder"):
        find_file(catalog.card("x3d-xs"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere", r"no file '.*nowhere'; --checkpoint of x3d-xs expects X3D_XS\.pyth, or its folder"),
        ("empty", r"no X3D_XS\.pyth in '.*empty'; --checkpoint of x3d-xs expects that file, or its folder"),
    ],
)
def test_a_wrong_place_is_told(given, message, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "X3D_M.pyth").touch()
    with pytest.raises(VidsimError, match=message):
        catalog.resolve("x3d-xs", checkpoint=str(tmp_path / given))


def test_what_torch_hub_has_under_a_name_is_not_another_addresss_file(tmp_path):
    made = write_zoo_file(tmp_path / "torch" / "hub" / "checkpoints", "x3d-s")
    own = replace(made.card, name="mine", checkpoint=f"https://example.org/{made.path.name}")
    assert (find_file(made.card), find_file(own)) == (made.path, None)
    with pytest.raises(CheckpointUnavailable) as told:
        catalog.resolve(own, offline=True)
    assert str(told.value) == (
        "no weights for mine: X3D_S.pyth is not on this machine and example.org was not to be asked; fetch "
        "https://example.org/X3D_S.pyth where there is network, and give --checkpoint FILE or put it at "
        f"'{tmp_path / 'cache' / 'zoo' / 'example.org' / 'X3D_S.pyth'}'; motion-energy works offline"
    )


def test_a_file_that_its_own_card_names_and_that_is_not_there_is_told(tmp_path):
    own = replace(catalog.card("x3d-xs"), name="mine", checkpoint=str(tmp_path / "mine.pyth"))
    with pytest.raises(VidsimError) as told:
        catalog.resolve(own)
    assert str(told.value) == (
        f"the checkpoint of mine is not there: no file '{tmp_path / 'mine.pyth'}'; mend its card"
    )
    (tmp_path / "mine.pyth").mkdir()
    with pytest.raises(VidsimError, match=r"not there: '.*mine\.pyth' is a folder without X3D_XS\.pyth; mend its card"):
        catalog.resolve(own)


def test_the_root_of_the_disk_is_no_checkpoint():
    card = catalog.card("x3d-xs")
    own = replace(card, name="mine", checkpoint="/", options={**card.options, "file": ""})  # as a card file says it
    with pytest.raises(VidsimError, match="the checkpoint of mine is not there: '/' is a folder; mend its card"):
        catalog.resolve(own)


def test_the_zoo_has_no_revisions(tmp_path):
    made = write_zoo_file(tmp_path, "x3d-xs")
    for place in (str(made.path), None):
        with pytest.raises(
            VidsimError, match="x3d-xs is published as one file without revisions; leave --revision out"
        ):
            catalog.resolve(made.card, checkpoint=place, revision="main")


def test_only_the_zoos_models_are_in_it():
    assert {row.name for row in catalog.CARDS.values() if in_zoo(row)} == {
        row.name for row in catalog.CARDS.values() if row.family == "video_cnn"
    }
    assert "X3D_M.pyth" in how_to_get(catalog.card("x3d-m"))
