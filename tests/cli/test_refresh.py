import json
import os
import shutil

import pytest

from vidsim.store import Store

ENCODER = ("--encoder", "motion-energy")


@pytest.fixture(scope="module")
def indexed(clips, tmp_path_factory):
    from vidsim.cli import main

    place = tmp_path_factory.mktemp("indexed")
    with pytest.raises(SystemExit) as stop:
        main(["index", str(clips), *ENCODER, "--root", str(place)])
    assert not stop.value.code
    return place


def refreshed(vidsim, root, *more):
    status, out, err = vidsim("index", "--refresh", "--root", root, "--json", *more)
    assert (status, err) == (0, "")
    return json.loads(out)


def test_an_index_says_its_kind_and_recall(vidsim, indexed, tmp_path):
    root = shutil.copytree(indexed, tmp_path / "root")
    first = refreshed(vidsim, root)
    assert (first["kind"], first["done"], first["recall"]["recall"]) == ("flat", "up to date", 1.0)
    other = refreshed(vidsim, root, "--kind", "ivf-flat", "--min-recall", "0.5")
    assert (other["kind"], other["done"], other["recall"]["at"]) == ("ivf-flat", "built", 10)
    assert other["parameters"]["nprobe"] >= 1
    _, out, _ = vidsim("index", "--refresh", "--root", root)  # what was asked for stays
    assert "ivf-flat, recall@10 1.000 (nprobe 1), up to date" in out
    assert refreshed(vidsim, root, "--kind", "auto")["kind"] == "flat"


def test_files_that_have_changed_are_told(vidsim, clips, tmp_path):
    folder, root = shutil.copytree(clips, tmp_path / "videos"), tmp_path / "root"
    assert vidsim("index", folder, *ENCODER, "--root", root)[0] == 0
    one, two, other = (folder / f"clip {n}.mp4" for n in (0, 1, 2))
    one.rename(tmp_path / "x.mp4")
    two.rename(one)
    (tmp_path / "x.mp4").rename(two)
    assert refreshed(vidsim, root)["changed"] == 2
    _, out, _ = vidsim("index", "--refresh", "--root", root)
    advised = "files whose size or time has changed since they were embedded: 2; embed what changed: vidsim index "
    assert f"{advised}FOLDER --encoder motion-energy --root {root}\n" in out
    _, out, _ = vidsim("index", folder, *ENCODER, "--root", root)
    assert "0 encoded" in out
    assert "2 moved" in out
    assert "has changed" not in out
    status = other.stat()
    other.write_bytes(other.read_bytes()[:-1] + b"x")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "0 encoded" in vidsim("index", folder, *ENCODER, "--root", root)[1]
    assert "1 encoded" in vidsim("index", folder, *ENCODER, "--root", root, "--checksum")[1]
    assert "0 encoded" in vidsim("index", folder, *ENCODER, "--root", root, "--checksum")[1]


@pytest.mark.parametrize("kind", ["ivf-flat", "lancedb"])
def test_what_has_come_gone_and_been_rated_is_told_and_refreshed(vidsim, indexed, tmp_path, monkeypatch, kind):
    import pyarrow as pa

    from vidsim.retrieval import approximate
    from vidsim.retrieval.indexes import load
    from vidsim.store import Entry

    root = shutil.copytree(indexed, tmp_path / "root")
    assert refreshed(vidsim, root, "--kind", kind)["done"] == "built"
    monkeypatch.setattr(approximate, "build", lambda *a: pytest.fail("it was trained again"))
    table = Store(root).tables()[0]
    table.write(
        [Entry("new.mp4", "/nowhere/new.mp4", "0" * 32)],
        {la: table[la].take(["clip 2.mp4"]).matrix for la in table.layers},
    )
    table.delete(["clip 4.mp4"])
    Store(root).stimuli.put("rated", pa.table({"id": ["clip 2.mp4"], "valence": [2.0]}))
    status, _, err = vidsim("search", "clip 1.mp4", "--root", root, "--json")
    assert (status, err.count("\n")) == (0, 1)
    assert f"refresh it: vidsim index --refresh --root {root}" in err
    answer = refreshed(vidsim, root)
    assert (answer["encoder"], answer["kind"], answer["done"], answer["rows"]) == (
        "motion-energy",
        kind,
        "refreshed",
        6,
    )
    if kind != "lancedb":
        assert answer["change"] == {"added": 1, "removed": 1}
    status, out, err = vidsim("search", "clip 1.mp4", "--root", root, "--json", "-n", "4")
    assert (status, err) == (0, "")
    found = {json.loads(line)["id"] for line in out.splitlines()}
    assert found < {"new.mp4", *(f"clip {n}.mp4" for n in (0, 2, 3, 5))}
    attributes = load(str(root), "motion-energy", answer["layer"]).attributes
    assert attributes is not None
    valence = dict(zip(attributes["id"].to_pylist(), attributes["valence"].to_pylist(), strict=True))
    assert (valence["clip 2.mp4"], valence["clip 3.mp4"]) == (2.0, None)
    assert refreshed(vidsim, root)["done"] == "up to date"
    status, out, err = vidsim("index", "--refresh", "-e", "Motion-Energy", "--root", root)
    assert (status, out) == (2, "")
    assert "to refresh; did you mean 'motion-energy'?" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kind", "ivf"], "ivf-flat"),
        (["--min-recall", "1.5"], "min-recall"),
        (["CLIPS", "--refresh"], "--refresh encodes nothing: leave it out, or what has no effect with it: SOURCE\n"),
        (["--refresh", *ENCODER, "--pooling", "cls", "--dims", "4732", "--retry"], "it: --retry, --pooling, --dims\n"),
        (["--refresh", "-e", "timesformer-base"], "no index of 'timesformer-base' in"),
        (["--refresh"], "no index in .* to refresh; build one"),
        (["--refresh", *ENCODER], "no index of 'motion-energy' in"),
    ],
)
def test_mistakes_about_indexes_are_one_line(vidsim, clips, tmp_path, arguments, message):
    import re

    Store(tmp_path, create=True)
    given = [str(clips) if a == "CLIPS" else a for a in arguments]
    status, out, err = vidsim("index", *given, "--root", tmp_path)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.search(message, err)
