import os
from pathlib import Path

import numpy as np
import pytest

from vidsim.adapt.folder import adapters_of
from vidsim.data.interop import read_rsm, write_rsm
from vidsim.data.judgments.read import Reading, read, read_ids
from vidsim.data.ratings import read_ratings
from vidsim.data.sources import from_source
from vidsim.data.spaces import read_space
from vidsim.data.ucf101 import read_split
from vidsim.errors import VidsimError
from vidsim.paths import expand, rooted
from vidsim.retrieval.artefacts import artefacts
from vidsim.rsm import RSM
from vidsim.store import Store

KINDS = (os.fspath, expand)
"""What a caller may write a place as: text, or a path."""


@pytest.fixture
def files(tmp_path):
    texts = {
        "trials.csv": "a,b,odd\nx,y,z\ny,z,x\n",
        "names.csv": "id\nx\ny\nz\n",
        "likes.csv": "x,y\n1,0.5\n0.5,1\n",
        "counts.csv": "x,y\n0,4\n4,0\n",
        "ratings.csv": "id,caption,valence\nx,a man,1\ny,a cat,2\n",
        "classInd.txt": "1 Run\n2 Swim\n",
        "trainlist01.txt": "Run/a.avi 1\nSwim/b.avi 2\n",
        "testlist01.txt": "Run/c.avi\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_may_be_text_or_a_path(files, kind):
    table = read(kind(files / "trials.csv"), Reading(ids=kind(files / "names.csv"))).judgments
    assert table.triplets.ids == ("x", "y", "z")
    matrix = read(kind(files / "likes.csv"), Reading(counts=kind(files / "counts.csv"))).rsms[""]
    assert matrix.upper_counts.tolist() == [4]
    assert list(read_ids(kind(files / "names.csv"))) == ["x", "y", "z"]
    assert read_ratings(kind(files / "ratings.csv")).values.tolist() == [[1], [2]]
    assert from_source(kind(files / "ratings.csv")).ids == ("x", "y")
    assert read_split(kind(files)).actions == ("Run", "Swim")
    assert read_space(kind(files / "likes.csv")).upper.tolist() == [0.5]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_matrices_are_written_and_read_at_either(tmp_path, kind, suffix):
    place = kind(tmp_path / f"likes{suffix}")
    write_rsm(place, RSM(("x", "y"), np.array([[1, 0.25], [0.25, 1]])))
    assert read_rsm(place)[0].upper.tolist() == [0.25]


def test_text_may_begin_with_the_home_folder(files, monkeypatch):
    monkeypatch.setenv("HOME", str(files))
    assert read_ratings("~/ratings.csv").ids == ("x", "y")


def test_a_root_is_the_same_wherever_it_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    home = Store("~/r", create=True)
    assert home.root == str(tmp_path / "r")
    for kind in (str, Path):
        assert adapters_of(kind("~/r")) == tmp_path / "r" / "adapters"
        artefacts(kind("~/r"), "faiss").put("x", lambda path: path.write_text("x"))
        assert (tmp_path / "r" / "faiss" / "x").read_text() == "x"
    assert rooted("s3://bucket/~") == "s3://bucket/~"


@pytest.mark.parametrize("take", [Store, artefacts, adapters_of, rooted])
def test_an_address_made_a_path_is_refused(take, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VidsimError, match="'s3:/bucket/x' is an address made a path; give it as text: 's3://bucket/x'"):
        take(Path("s3://bucket/x"))
    assert list(tmp_path.iterdir()) == []
