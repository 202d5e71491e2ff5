import json
import shutil

import pytest

from clips import moving_square, write_clip


@pytest.fixture(scope="module")
def root(clips, tmp_path_factory):
    from vidsim.cli import main

    place = tmp_path_factory.mktemp("searched")
    with pytest.raises(SystemExit) as stop:
        main(["index", str(clips), "--encoder", "motion-energy", "--root", str(place)])
    assert stop.value.code in {0, None}
    return place


def hits(vidsim, root, *arguments):
    status, out, err = vidsim("search", *arguments, "--root", root, "--json")
    assert status == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_itself_comes_first_when_asked_for(vidsim, root, clips):
    for query in ("clip 1.mp4", "clip 1", clips / "clip 1.mp4"):
        first, *others = hits(vidsim, root, query, "--include-self")
        assert (first["id"], first["rank"]) == ("clip 1.mp4", 1)
        assert first["similarity"] == pytest.approx(1.0, abs=1e-5)
        assert len(others) == 5
        assert [h["id"] for h in hits(vidsim, root, query)] == [h["id"] for h in others]


def test_an_indexed_clip_under_another_name_is_itself(vidsim, root, clips, tmp_path):
    shutil.copy(clips / "clip 1.mp4", tmp_path / "other name.mp4")
    assert hits(vidsim, root, tmp_path / "other name.mp4") == hits(vidsim, root, "clip 1.mp4")


def test_a_new_clip_is_encoded_as_the_stored_ones_were(vidsim, root, clips, tmp_path):
    # the same frames in another file: other bytes, the same embedding
    content = (clips / "clip 1.mp4").read_bytes()
    twin = tmp_path / "twin.mp4"
    twin.write_bytes(content + b"\0\0\0\x08free")
    (first, *_) = hits(vidsim, root, twin)
    assert first["id"] == "clip 1.mp4"
    assert first["similarity"] == pytest.approx(1.0, abs=1e-5)


def test_an_id_query_imports_neither_torch_nor_lancedb(root):
    import subprocess
    import sys

    code = f"""
import sys
from vidsim.cli import main
try:
    main(["search", "clip 1.mp4", "--root", {str(root)!r}, "--json"])
except SystemExit as stop:
    assert not stop.code
print([m for m in ("torch", "lancedb", "transformers") if m in sys.modules], file=sys.stderr)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stderr == "[]\n"
    assert len(out.stdout.splitlines()) == 5


def test_asking_for_more_than_there_is_gives_all_and_says_so(vidsim, root):
    status, out, err = vidsim("search", "clip 1.mp4", "-n", "99", "--root", root, "--json")
    assert (status, len(out.splitlines())) == (0, 5)
    assert "99 were asked for" in err
    assert err.count("\n") == 1


def test_a_file_that_has_changed_is_searched_as_it_is_now(vidsim, clips, tmp_path):
    folder = tmp_path / "folder"
    shutil.copytree(clips, folder)
    vidsim("index", folder, "--encoder", "motion-energy", "--root", tmp_path / "root")
    shutil.copy(folder / "clip 2.mp4", folder / "clip 4.mp4")
    first, *_ = hits(vidsim, tmp_path / "root", folder / "clip 4.mp4", "--include-self")
    assert (first["id"], first["similarity"]) == ("clip 2.mp4", pytest.approx(1.0, abs=1e-5))


@pytest.mark.parametrize("query", ["x" * 300, "bad\udcff", "a\nb"])
def test_impossible_names_are_one_line(vidsim, root, query):
    status, out, err = vidsim("search", query, "--root", root)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


def test_unknown_queries_name_the_nearest_ids(vidsim, root):
    status, out, err = vidsim("search", "clip 11.mp4", "--root", root)
    assert (status, out) == (2, "")
    assert "neither an indexed id nor a video file" in err
    assert "'clip 1.mp4'" in err


def test_an_unreadable_clip_is_one_line(vidsim, root, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"")
    status, out, err = vidsim("search", tmp_path / "broken.mp4", "--root", root)
    assert (status, out) == (2, "")
    assert "broken.mp4" in err
    assert err.count("\n") == 1


def test_several_indexes_must_be_told_apart(vidsim, root, tmp_path):
    place = tmp_path / "two"
    shutil.copytree(root, place)
    layer_folder = next((place / "faiss" / "motion-energy").iterdir())
    shutil.copytree(layer_folder, layer_folder.with_name("other"))
    status, _, err = vidsim("search", "clip 1.mp4", "--root", place)
    assert status == 2
    assert "2 indexes" in err
    assert f"--layer {layer_folder.name}" in err
    assert hits(vidsim, place, "clip 1.mp4", "--layer", layer_folder.name)


def test_odd_ids_are_found_and_stay_on_their_line(vidsim, tmp_path):
    names = ["-dash.mp4", "new\nline.mp4", "quo'te\".mp4", "[red]ünï 視頻.mp4"]
    for number, name in enumerate(names):
        write_clip(tmp_path / "odd" / name, moving_square(frames=12, step=1 + 2 * number))
    status, out, err = vidsim("index", tmp_path / "odd", "--encoder", "motion-energy", "--root", tmp_path / "root")
    assert (status, err) == (0, "")
    for name in names:
        status, out, err = vidsim("search", "--root", tmp_path / "root", "--json", "--include-self", "--", name)
        assert (status, err) == (0, "")
        assert json.loads(out.splitlines()[0])["id"] == name
    _, out, _ = vidsim("search", "--root", tmp_path / "root", "--", "-dash.mp4")
    assert "new\\nline.mp4" in out
    assert "[red]ünï 視頻.mp4" in out
