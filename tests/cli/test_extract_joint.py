"""Extraction with models of frames and text, from video files to the store."""

import json

import numpy as np
import pytest
import torch
from tiny_models import QWEN, XCLIP, write_qwen, write_xclip

from vidsim.encoders import catalog
from vidsim.store import Store

from clips import moving_square, write_clip


def whole(_layer, features):
    return features


def decoded(encoder, path, frames):
    """Decode with PyAV alone the frames on screen in the middle of equal parts of a clip of ten frames a second."""
    import av

    with av.open(str(path)) as container:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    moments = (np.arange(frames) + 0.5) / frames * len(images)
    return torch.stack([encoder.prepare(images[int(moment)]) for moment in moments])


@pytest.fixture
def qwen(tmp_path, monkeypatch):
    made = write_qwen(tmp_path / "qwen")
    monkeypatch.setitem(catalog.CARDS, QWEN, made.card)
    return made


@pytest.fixture
def table(tmp_path):
    for number, (height, width) in enumerate([(48, 64), (48, 64), (96, 40)]):
        images = moving_square(frames=20, height=height, width=width, step=1 + number, start=5 * number)
        write_clip(tmp_path / "clips" / f"{number}.mp4", images)
    path = tmp_path / "stimuli.csv"

    def write(captions):
        rows = [f"{name},clips/{name}.mp4,{caption}" for name, caption in captions]
        path.write_text("\n".join(["id,path,caption", *rows]) + "\n")
        return path

    return write


def test_frames_and_captions_go_to_the_store(vidsim, qwen, table, tmp_path):
    captions = [("0", "a dog runs"), ("1", "two people talk"), ("0", "a puppy"), ("2", "")]
    options = ("-e", QWEN.lower(), "--checkpoint", qwen.folder, "--root", tmp_path / "root", "--json")

    def run(source):
        status, out, err = vidsim("extract", source, *options)
        assert status == 0, err
        answer = json.loads(out)
        return answer["encoded"], answer["skipped"], answer["failures"]

    source = table(captions)
    assert run(source) == (3, 0, 0)
    encoder = catalog.load(catalog.resolve(qwen.card, checkpoint=str(qwen.folder)), device="cpu")
    spoken = {"0": ("a dog runs", "a puppy"), "1": ("two people talk",), "2": ()}

    def agrees():
        stored = Store(tmp_path / "root")[QWEN]
        for name, said in spoken.items():
            pair = decoded(encoder, tmp_path / "clips" / f"{name}.mp4", 7), said
            for layer, vector in encoder.encode([pair], qwen.card.layers, whole).items():
                np.testing.assert_allclose(stored[layer].take([name]).matrix, vector, rtol=0, atol=1e-5)

    agrees()
    assert run(source) == (0, 3, 0)

    # a caption that changes, comes or goes is a change; a file that is only touched is none
    (tmp_path / "clips" / "1.mp4").touch()
    spoken |= {"0": ("a dog runs",), "2": ("a tall square",)}
    source = table([("0", "a dog runs"), ("1", "two people talk"), ("2", "a tall square")])
    status, out, err = vidsim("extract", source, *options)
    assert status == 0, err
    answer = json.loads(out)
    assert (answer["encoded"], answer["skipped"] + answer["moved"]) == (2, 1)
    agrees()
    spoken["1"] = ()
    assert run(table([("0", "a dog runs"), ("1", ""), ("2", "a tall square")])) == (1, 2, 0)
    agrees()

    # a moved file keeps its embedding with its caption
    (tmp_path / "clips" / "0.mp4").rename(tmp_path / "clips" / "moved.mp4")
    source.write_text(source.read_text().replace("clips/0.mp4", "clips/moved.mp4"))
    status, out, _ = vidsim("extract", source, *options)
    answer = json.loads(out)
    assert (status, answer["encoded"], answer["skipped"], answer["moved"]) == (0, 0, 2, 1)


def test_the_first_caption_alone_is_another_table(vidsim, qwen, table, tmp_path):
    source = table([("0", "a dog runs"), ("0", "a puppy")])
    options = ("-e", QWEN, "--checkpoint", qwen.folder, "--root", tmp_path / "root", "--json")
    names = [
        json.loads(vidsim("extract", source, *options, *more)[1])["table"] for more in ((), ("--captions", "first"))
    ]
    tables = {table.name: table for table in Store(tmp_path / "root").tables()}
    assert len(set(names)) == len(tables) == 2
    encoder = catalog.load(catalog.resolve(qwen.card, checkpoint=str(qwen.folder)), device="cpu")
    frames, layer = decoded(encoder, tmp_path / "clips" / "0.mp4", 7), qwen.card.default_layer
    for name, captions in zip(names, (("a dog runs", "a puppy"), ("a dog runs",)), strict=True):
        expected = encoder.encode([(frames, captions)], [layer], whole)[layer]
        np.testing.assert_allclose(tables[name][layer].matrix, expected, rtol=0, atol=1e-5)


def test_a_clip_that_cannot_be_used_goes_to_the_ledger(vidsim, qwen, table, tmp_path):
    source = table([("0", "a dog runs"), ("1", "two people talk"), ("2", "")])
    options = ("-e", QWEN, "--checkpoint", qwen.folder, "--root", tmp_path / "root", "--json")
    assert json.loads(vidsim("extract", source, *options)[1])["encoded"] == 3
    (tmp_path / "clips" / "0.mp4").write_bytes(b"nonsense")
    write_clip(tmp_path / "clips" / "2.mp4", np.zeros((8, 4, 900, 3), np.uint8))
    answer = json.loads(vidsim("extract", source, *options)[1])
    assert (answer["stimuli"], answer["failures"], answer["new_failures"], answer["rows"]) == (1, 2, 2, 1)
    again = json.loads(vidsim("extract", source, *options)[1])
    assert (again["failures"], again["new_failures"], again["rows"]) == (2, 0, 1)
    said = [
        json.loads(line) for line in vidsim("store", "failures", "--root", tmp_path / "root", "--json")[1].splitlines()
    ]
    assert "too-long" in {line["kind"] for line in said}


def test_a_clip_is_found_in_the_index_as_it_was_encoded_with_its_caption(vidsim, qwen, table, tmp_path, monkeypatch):
    source = table([("0", "a dog runs"), ("1", "two people talk"), ("2", "")])
    root = tmp_path / "root"
    status, _, err = vidsim("index", source, "-e", QWEN, "--checkpoint", qwen.folder, "--root", root)
    assert status == 0, err
    monkeypatch.setattr("vidsim.extract.embed_file", None)  # not encoded again, where there would be no caption
    status, out, err = vidsim("search", tmp_path / "clips" / "0.mp4", "-n", "3", "--root", root, "--json")
    assert status == 0, err
    assert {"1", "2"} <= {json.loads(line)["id"] for line in out.splitlines()}


def test_captions_without_a_clip_are_told(vidsim, qwen, tmp_path):
    (tmp_path / "captions.csv").write_text("id,caption\na,a dog runs\n")
    options = ("-e", QWEN, "--checkpoint", qwen.folder, "--root", tmp_path / "root", "--json")
    status, out, _ = vidsim("extract", tmp_path / "captions.csv", *options)
    assert (status, json.loads(out)["failures"]) == (0, 1)
    _, out, _ = vidsim("store", "failures", "--root", tmp_path / "root", "--json")
    assert "needs a video file" in json.loads(out)["reason"]


def test_clips_go_to_the_joint_space(vidsim, clips, tmp_path, monkeypatch):
    made = write_xclip(tmp_path / "xclip")
    monkeypatch.setitem(catalog.CARDS, XCLIP, made.card)
    options = ("-e", XCLIP, "--checkpoint", made.folder, "--root", tmp_path / "root", "--json", "--batch-size", "2")
    status, out, err = vidsim("extract", clips, *options)
    assert status == 0, err
    answer = json.loads(out)
    assert (answer["encoded"], answer["default_layer"], answer["layers"]["video_embeds"]) == (6, "video_embeds", 24)
    assert list(answer["layers"]) == list(made.card.layers)
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    stored = Store(tmp_path / "root")[XCLIP]
    frames = decoded(encoder, clips / "clip 3.mp4", 8)[None]
    for layer, vector in encoder.encode(frames, made.card.layers, whole).items():
        np.testing.assert_allclose(stored[layer].take(["clip 3.mp4"]).matrix, vector, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("encoder", "other"), [(QWEN, XCLIP), (XCLIP, QWEN)])
def test_a_folder_of_another_model_is_one_line(vidsim, clips, tmp_path, encoder, other):
    write = {QWEN: write_qwen, XCLIP: write_xclip}[other]
    folder = write(tmp_path / "other").folder
    status, out, err = vidsim("extract", clips, "-e", encoder, "--checkpoint", folder, "--root", tmp_path / "root")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "is not known" in err


def test_a_model_of_another_size_is_one_line(vidsim, clips, tmp_path):
    folder = write_qwen(tmp_path / "tiny").folder
    status, _, err = vidsim("extract", clips, "-e", QWEN, "--checkpoint", folder, "--root", tmp_path / "root")
    assert status == 2
    assert err.count("\n") == 1
    assert "expects width 2048, the checkpoint in" in err


@pytest.mark.parametrize(("caption", "status"), [("a dog runs", 2), ("", 0)])
def test_a_new_clip_is_not_compared_with_clips_and_their_captions(caption, status, vidsim, qwen, table, tmp_path):
    source, root = table([("0", caption), ("1", caption)]), ("--root", tmp_path / "root")
    assert vidsim("index", source, "-e", QWEN, "--checkpoint", qwen.folder, *root)[0] == 0
    found, out, err = vidsim("search", tmp_path / "clips" / "2.mp4", *root)
    assert found == status, err
    told = "has read captions beside the frames; index the clip with its captions, and query by id\n"
    assert err.endswith(told) if status else "0" in out
