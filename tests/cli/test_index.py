import json
import os
import shutil

import pytest

from vidsim.store import Store

from clips import moving_square, write_clip

ENCODER = ("--encoder", "motion-energy")


def index(vidsim, folder, root, *more):
    status, out, err = vidsim("index", folder, *ENCODER, "--root", root, "--json", *more)
    assert status == 0, err
    return json.loads(out)


def rows(root):
    """Return {layer: {id: vector bytes}} of everything stored."""
    table = Store(root)["motion-energy"]
    return {layer: dict(zip(table[layer].ids, map(bytes, table[layer].matrix), strict=True)) for layer in table}


def test_a_folder_becomes_searchable(vidsim, clips, tmp_path):
    answer = index(vidsim, clips, tmp_path)
    assert (answer["stimuli"], answer["encoded"], answer["failures"]) == (6, 6, 0)
    assert answer["index"]["rows"] == 6
    assert answer["index"]["layer"] == answer["default_layer"]
    status, out, _ = vidsim("search", "clip 2.mp4", "--root", tmp_path, "--json", "-n", "3")
    hits = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert all(hit["path"] == str(clips / hit["id"]) for hit in hits)
    assert "clip 2.mp4" not in {hit["id"] for hit in hits}
    similarities = [hit["similarity"] for hit in hits]
    assert similarities == sorted(similarities, reverse=True)


def test_people_read_words(vidsim, clips, tmp_path):
    status, out, err = vidsim("index", clips, *ENCODER, "--root", tmp_path)
    assert (status, err) == (0, "")
    assert "6 stimuli: 6 encoded" in out
    assert f"vidsim search ID_OR_CLIP --root {tmp_path}" in out
    status, out, err = vidsim("search", "clip 0.mp4", "--root", tmp_path, "-n", "2")
    assert (status, err) == (0, "")
    assert "similarity" in out
    assert len(out.strip().splitlines()) == 4


def test_rerun_does_nothing_and_loads_no_torch(vidsim, clips, tmp_path, monkeypatch):
    first = index(vidsim, clips, tmp_path)
    before = rows(tmp_path)
    monkeypatch.setattr("vidsim.encoders.catalog.load", lambda *a, **k: pytest.fail("the encoder was loaded"))
    again = index(vidsim, clips, tmp_path)
    assert (again["stimuli"], again["encoded"], again["skipped"]) == (6, 0, 6)
    assert (first["index"]["built"], again["index"]["built"]) == (True, False)
    assert rows(tmp_path) == before


def test_a_changed_file_is_redone_and_a_moved_one_recognised(vidsim, clips, tmp_path, monkeypatch):
    folder, root = tmp_path / "folder", tmp_path / "root"
    shutil.copytree(clips, folder)
    index(vidsim, folder, root)
    before = rows(root)
    (folder / "sub").mkdir()
    (folder / "clip 1.mp4").rename(folder / "sub" / "moved.mp4")
    shutil.copy(folder / "clip 2.mp4", folder / "copy.mp4")
    os.utime(folder / "clip 3.mp4", (1, 1))
    write_clip(folder / "clip 4.mp4", moving_square(frames=30, step=7))
    encoded = []
    from vidsim.extract import batches

    prepare = batches.prepare
    monkeypatch.setattr(batches, "prepare", lambda s, *a: encoded.append(s.id) or prepare(s, *a))
    answer = index(vidsim, folder, root)
    assert encoded == ["clip 4.mp4"]
    assert (answer["stimuli"], answer["encoded"], answer["moved"], answer["skipped"]) == (7, 1, 3, 3)
    after = rows(root)
    for layer, vectors in after.items():
        old = before[layer]
        assert vectors.keys() == {*old, "sub/moved.mp4", "copy.mp4"} - {"clip 1.mp4"}
        assert vectors["sub/moved.mp4"] == old["clip 1.mp4"]
        assert vectors["copy.mp4"] == vectors["clip 2.mp4"] == old["clip 2.mp4"]
        assert vectors["clip 3.mp4"] == old["clip 3.mp4"]
    assert any(after[layer]["clip 4.mp4"] != before[layer]["clip 4.mp4"] for layer in after)
    assert answer["index"]["rows"] == 7


def test_swapped_names_swap_embeddings(vidsim, clips, tmp_path):
    folder, root = tmp_path / "folder", tmp_path / "root"
    shutil.copytree(clips, folder)
    index(vidsim, folder, root)
    before = rows(root)
    (folder / "clip 0.mp4").rename(folder / "aside")
    (folder / "clip 1.mp4").rename(folder / "clip 0.mp4")
    (folder / "aside").rename(folder / "clip 1.mp4")
    answer = index(vidsim, folder, root)
    after = rows(root)
    assert answer["encoded"] == 0
    for layer in before:
        assert after[layer]["clip 0.mp4"] == before[layer]["clip 1.mp4"]
        assert after[layer]["clip 1.mp4"] == before[layer]["clip 0.mp4"]


def test_a_moved_folder_costs_nothing(vidsim, clips, tmp_path):
    shutil.copytree(clips, tmp_path / "here")
    index(vidsim, tmp_path / "here", tmp_path / "root")
    (tmp_path / "here").rename(tmp_path / "there")
    answer = index(vidsim, tmp_path / "there", tmp_path / "root")
    assert (answer["encoded"], answer["moved"], answer["rows"]) == (0, 6, 6)
    paths = Store(tmp_path / "root").tables()[0].entries()["path"].to_pylist()
    assert all(path.startswith(str(tmp_path / "there")) for path in paths)


def test_same_names_in_two_folders_do_not_overwrite_each_other(vidsim, clips, tmp_path):
    root = tmp_path / "root"
    index(vidsim, clips, root)
    before = rows(root)
    write_clip(tmp_path / "other" / "clip 0.mp4", moving_square(frames=30, step=9))
    for encoded in (1, 0):
        answer = index(vidsim, tmp_path / "other", root)
        assert (answer["stimuli"], answer["encoded"], answer["rows"]) == (1, encoded, 7)
    after = rows(root)
    for layer in before:
        assert after[layer].keys() - before[layer].keys() == {"other/clip 0.mp4"}
        assert all(after[layer][name] == vector for name, vector in before[layer].items())


def test_a_folder_and_a_folder_inside_it_share_their_stimuli(vidsim, clips, tmp_path):
    folder, root = tmp_path / "p", tmp_path / "root"
    write_clip(folder / "x.mp4", moving_square(frames=8))
    write_clip(folder / "sub" / "x.mp4", moving_square(frames=9))
    assert index(vidsim, folder, root)["encoded"] == 2
    write_clip(folder / "sub" / "x.mp4", moving_square(frames=30, step=5))
    answer = index(vidsim, folder / "sub", root)
    assert (answer["encoded"], answer["rows"]) == (1, 2)
    assert set(rows(root)["combined"]) == {"x.mp4", "sub/x.mp4"}


def test_a_table_that_names_another_file_is_followed(vidsim, clips, tmp_path):
    table, root = tmp_path / "t.csv", tmp_path / "root"
    for number in (1, 2):
        table.write_text(f"id,path\ns1,{clips / f'clip {number}.mp4'}\n")
        assert index(vidsim, table, root)["rows"] == 1
    plain = tmp_path / "plain"
    index(vidsim, clips, plain)
    for layer, vectors in rows(root).items():
        assert vectors["s1"] == rows(plain)[layer]["clip 2.mp4"]


def test_a_file_that_has_become_unusable_leaves_the_results(vidsim, clips, tmp_path):
    folder, root = tmp_path / "folder", tmp_path / "root"
    shutil.copytree(clips, folder)
    index(vidsim, folder, root)
    (folder / "clip 3.mp4").write_text("garbage")
    answer = index(vidsim, folder, root)
    assert (answer["stimuli"], answer["failures"], answer["rows"], answer["index"]["rows"]) == (5, 1, 5, 5)
    assert "clip 3.mp4" not in rows(root)["combined"]


def test_ledger_entries_end_with_their_cause(vidsim, clips, tmp_path):
    folder, root = tmp_path / "folder", tmp_path / "root"
    shutil.copytree(clips, folder)
    index(vidsim, folder, root)
    (folder / "clip 1.mp4").rename(tmp_path / "aside")
    (folder / "clip 1.mp4").symlink_to("nowhere")
    (folder / "new.mp4").write_text("not yet a video")
    first = index(vidsim, folder, root)
    assert (first["failures"], first["new_failures"]) == (2, 2)
    assert index(vidsim, folder, root)["new_failures"] == 0
    (folder / "clip 1.mp4").unlink()
    (tmp_path / "aside").rename(folder / "clip 1.mp4")
    shutil.copy(folder / "clip 2.mp4", folder / "new.mp4")
    assert index(vidsim, folder, root)["failures"] == 0
    assert vidsim("store", "failures", "--root", root)[1] == "no failures\n"


@pytest.mark.parametrize("damage", ["manifest.json", "vectors"])
def test_a_damaged_index_is_rebuilt_by_the_same_command(vidsim, clips, tmp_path, damage):
    index(vidsim, clips, tmp_path)
    next(p for p in (tmp_path / "faiss").rglob("*") if p.name.startswith(damage)).write_bytes(b"{")
    status, _, err = vidsim("search", "clip 1", "--root", tmp_path)
    assert (status, err.count("\n")) == (2, 1)
    assert "rebuild" in err
    assert index(vidsim, clips, tmp_path)["index"]["built"]
    assert vidsim("search", "clip 1", "--root", tmp_path)[0] == 0


def test_what_was_asked_outlives_damaged_files(vidsim, clips, tmp_path):
    asked = index(vidsim, clips, tmp_path, "--kind", "ivf-flat", "--min-recall", 0.9)["index"]
    assert (asked["kind"], asked["done"]) == ("ivf-flat", "built")
    folder = tmp_path / "faiss" / "motion-energy" / "combined"
    next(folder.glob("vectors-*")).write_bytes(b"gone")
    again = index(vidsim, clips, tmp_path)["index"]
    assert (again["kind"], again["done"]) == ("ivf-flat", "built")
    assert json.loads((folder / "manifest.json").read_text())["min_recall"] == 0.9


def test_fewer_layers_of_a_fuller_table_lose_nothing(vidsim, clips, tmp_path):
    folder, root = tmp_path / "folder", tmp_path / "root"
    shutil.copytree(clips, folder)
    full = index(vidsim, folder, root)
    write_clip(folder / "more.mp4", moving_square(frames=25, step=4))
    answer = index(vidsim, folder, root, "--layers", "energy")
    assert (answer["encoded"], answer["layers"], answer["index"]["layer"]) == (1, full["layers"], "energy")
    assert vidsim("search", "more", "--layer", "energy", "--root", root, "-n", "6")[0] == 0


def test_the_root_may_be_the_folder_itself(vidsim, clips, tmp_path, monkeypatch):
    shutil.copytree(clips, tmp_path / "folder")
    monkeypatch.chdir(tmp_path / "folder")
    assert index(vidsim, ".", ".", "--all-files")["stimuli"] == 6
    assert index(vidsim, ".", ".", "--all-files")["stimuli"] == 6


def test_results_depend_on_neither_batch_nor_workers_nor_order(vidsim, clips, tmp_path):
    index(vidsim, clips, tmp_path / "a", "--batch-size", "1", "--workers", "1")
    index(vidsim, clips, tmp_path / "b", "--batch-size", "5", "--workers", "3")
    for shard in ("3/3", "1/3", "2/3"):
        vidsim("index", clips, *ENCODER, "--root", tmp_path / "c", "--shard", shard)
    expected = rows(tmp_path / "a")
    assert rows(tmp_path / "b") == expected
    assert rows(tmp_path / "c") == expected


def test_chosen_layers_half_precision_and_limit(vidsim, clips, tmp_path):
    _, out, _ = vidsim("models", "motion-energy", "--json")
    layers = json.loads(out)["layers"]
    answer = index(vidsim, clips, tmp_path, "--layers", ",".join(layers[:2]), "--dtype", "float16", "--limit", "4")
    assert list(answer["layers"]) == layers[:2]
    assert (answer["stimuli"], answer["index"]["layer"]) == (4, layers[1])
    assert {v.dtype.name for v in (Store(tmp_path)["motion-energy"][la].matrix for la in layers[:2])} == {"float16"}


def test_bad_files_go_to_the_ledger_and_come_back_when_mended(vidsim, clips, tmp_path):
    folder, root = tmp_path / "folder", tmp_path / "root"
    shutil.copytree(clips, folder)
    good = (folder / "clip 0.mp4").read_bytes()
    (folder / "clip 0.mp4").write_bytes(good[: len(good) // 2])
    (folder / "text.mp4").write_text("not a video")
    first = index(vidsim, folder, root)
    assert (first["stimuli"], first["failures"], first["new_failures"]) == (5, 2, 2)
    _, out, _ = vidsim("store", "failures", "--root", root, "--json")
    entries = [json.loads(line) for line in out.splitlines()]
    assert [entry["id"] for entry in entries] == ["clip 0.mp4", "text.mp4"]
    assert all(entry["reason"] and entry["content"] for entry in entries)
    again = index(vidsim, folder, root)
    assert (again["failures"], again["new_failures"]) == (2, 0)
    retried = index(vidsim, folder, root, "--retry")
    assert (retried["failures"], retried["new_failures"]) == (2, 2)
    (folder / "clip 0.mp4").write_bytes(good)
    mended = index(vidsim, folder, root)
    assert (mended["stimuli"], mended["encoded"], mended["failures"]) == (6, 1, 1)
    _, out, _ = vidsim("store", "failures", "--root", root, "--json")
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["text.mp4"]


def test_a_file_that_vanishes_while_indexing_is_told_of(vidsim, clips, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    shutil.copytree(clips, folder)
    from vidsim.extract import batches

    prepare = batches.prepare

    def vanishing(stimulus, *arguments):
        if stimulus.id == "clip 3.mp4":
            stimulus.path.unlink()
        return prepare(stimulus, *arguments)

    monkeypatch.setattr(batches, "prepare", vanishing)
    answer = index(vidsim, folder, tmp_path / "root")
    assert (answer["stimuli"], answer["failures"]) == (5, 1)
    _, out, _ = vidsim("store", "failures", "--root", tmp_path / "root", "--json")
    assert json.loads(out)["kind"] == "vanished"


@pytest.mark.parametrize("kind", ["flat", "ivf-flat", "lancedb"])
@pytest.mark.parametrize("again", [("--refresh",), ()])
def test_a_file_that_is_deleted_leaves_the_results_and_comes_back_with_it(vidsim, clips, tmp_path, kind, again):
    folder, root = tmp_path / "folder", tmp_path / "root"
    shutil.copytree(clips, folder)
    index(vidsim, folder, root, "--kind", kind)
    place = ("--root", root, "--json")
    whole = [json.loads(line)["id"] for line in vidsim("search", "clip 1", "--all", *place)[1].splitlines()]
    assert "clip 3.mp4" in whole
    (folder / "clip 3.mp4").rename(tmp_path / "aside.mp4")
    command = ("index", *(again or (folder,)), *ENCODER, *place)
    answer = json.loads(vidsim(*command)[1])
    told = answer if again else answer["index"]
    assert (told["gone"], told["rows"]) == (1, len(whole))
    left = [json.loads(line)["id"] for line in vidsim("search", "clip 1", "--all", *place)[1].splitlines()]
    assert sorted(left) == sorted(set(whole) - {"clip 3.mp4"})
    told = json.loads(vidsim(*command)[1])
    assert (told if again else told["index"])["done"] == "up to date"
    (tmp_path / "aside.mp4").rename(folder / "clip 3.mp4")
    assert vidsim(*command)[0] == 0
    assert [json.loads(line)["id"] for line in vidsim("search", "clip 1", "--all", *place)[1].splitlines()] == whole


def test_only_bad_files_build_nothing_and_say_so(vidsim, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"")
    status, out, _ = vidsim("index", tmp_path / "videos", *ENCODER, "--root", tmp_path / "root")
    assert status == 0
    assert "0 stimuli" in out
    assert "1 stimulus cannot be used" in out
    assert "nothing to search" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "NOWHERE"], "no folder .*NOWHERE"),
        (["index", "EMPTY"], "no videos"),
        (["index", "CLIPS", "--encoder", "motion-enrgy"], "did you mean 'motion-energy'"),
        (["index", "CLIPS", "--device", "cudaa"], "cudaa"),
        (["index", "CLIPS", "--shard", "5/4"], "expected i/n"),
        (["index", "CLIPS", "--layers", "enrgy"], "enrgy"),
        (["index", "CLIPS", "--decoder", "ffmpeg"], "ffmpeg"),
        (["index", "CLIPS", "--batch-size", "0"], "batch-size"),
        (["index", "CLIPS", "--no-such-option"], "no-such-option"),
        (["search", "x"], "no index in"),
        (["search", "x", "-n", "0"], "at least 1"),
        (["store", "info"], "vidsim index"),
        (["frobnicate"], "frobnicate"),
        (["index", "x" * 300], "name too long"),
        (["search", "x" * 300], "no index in"),
        (["index", "CLIPS", "--columns", "id=x"], "goes with a table"),
        (["search", "x", "--root", "bogus://y"], "bogus"),
    ],
)
def test_every_mistake_is_one_line_and_exit_2(vidsim, clips, tmp_path, arguments, message):
    import re

    (tmp_path / "EMPTY").mkdir()
    places = {"NOWHERE": tmp_path / "NOWHERE", "EMPTY": tmp_path / "EMPTY", "CLIPS": clips}
    arguments = [places.get(a, a) for a in arguments]
    if arguments[0] == "index" and "--encoder" not in arguments:
        arguments += ENCODER
    if arguments[0] in {"index", "search", "store"} and "--root" not in arguments:
        arguments += ["--root", tmp_path / "root"]
    status, out, err = vidsim(*arguments)
    assert (status, out) == (2, "")
    assert re.search(message, err, re.IGNORECASE), err
    assert err.startswith("vidsim: ")
    assert err.count("\n") == 1


def test_the_default_encoder_says_what_works_offline(vidsim, clips, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    status, out, err = vidsim("index", clips, "--root", tmp_path / "root")
    assert (status, out) == (2, "")
    assert "facebook/timesformer-base-finetuned-k400" in err
    assert "motion-energy" in err
    assert err.count("\n") == 1
