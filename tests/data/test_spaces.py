import csv

import numpy as np
import pytest

from vidsim.data.interop import write_rsm
from vidsim.data.spaces import read_space
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import RSM, cosine_rsm

IDS = ("clip 1", 'a, "ü"', "c", "d")
POINTS = np.random.default_rng(0).normal(size=(4, 3))
MATRIX = cosine_rsm(Embeddings(IDS, POINTS))


def write(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def same(found, kind, values, ids=IDS):
    assert isinstance(found, kind)
    assert tuple(found.ids) == tuple(ids)
    np.testing.assert_allclose(found.matrix if kind is Embeddings else found.similarities, values, atol=1e-12)


@pytest.mark.parametrize("corner", [None, "", "id"])
def test_matrix_in_a_table(tmp_path, corner):
    rows = MATRIX.similarities.tolist()
    if corner is not None:
        rows = [[name, *row] for name, row in zip(IDS, rows, strict=True)]
    header = [*([] if corner is None else [corner]), *IDS]
    same(read_space(write(tmp_path / "m.csv", [header, *rows])), RSM, MATRIX.similarities)


@pytest.mark.parametrize("width", [1, 3, 4, 5])
def test_embeddings_in_a_table(tmp_path, width):
    """Also where a table of ids and numbers is as wide as it is long."""
    points = np.random.default_rng(1).normal(size=(4, width))
    header = ["id", *(f"dim{k}" for k in range(width))]
    path = write(tmp_path / "e.csv", [header, *([n, *row] for n, row in zip(IDS, points.tolist(), strict=True))])
    same(read_space(path), Embeddings, points)
    numbered = write(tmp_path / "n.csv", [header, *([k, *row] for k, row in enumerate(points.tolist()))])
    same(read_space(numbered), Embeddings, points, ids="0123")


def test_arrays(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(IDS), encoding="utf-8")
    np.save(tmp_path / "a.npy", POINTS.astype(np.float32))
    same(read_space(tmp_path / "a.npy"), Embeddings, POINTS.astype(np.float32))
    np.save(tmp_path / "a.npy", MATRIX.similarities)
    same(read_space(tmp_path / "a.npy"), RSM, MATRIX.similarities)
    np.save(tmp_path / "a.npy", np.arange(8).reshape(4, 2))
    same(read_space(tmp_path / "a.npy"), Embeddings, np.arange(8.0).reshape(4, 2))
    holes = MATRIX.similarities.copy()
    holes[0, 1] = holes[1, 0] = np.nan
    np.save(tmp_path / "a.npy", holes)
    same(read_space(tmp_path / "a.npy"), RSM, holes)


def test_archives(tmp_path):
    np.savez(tmp_path / "e.npz", ids=np.array(IDS), embeddings=POINTS)
    same(read_space(tmp_path / "e.npz"), Embeddings, POINTS)
    write_rsm(tmp_path / "r.npz", MATRIX)
    same(read_space(tmp_path / "r.npz"), RSM, MATRIX.similarities)


def test_hdf5(tmp_path):
    pytest.importorskip("h5py", reason="HDF5 needs h5py, which comes with rsatoolbox")
    write_rsm(tmp_path / "r.h5", MATRIX)
    same(read_space(tmp_path / "r.h5"), RSM, MATRIX.similarities)


def test_bad_files(tmp_path):
    ids = tmp_path / "x.txt"
    ids.write_text("\n".join(IDS), encoding="utf-8")
    np.save(tmp_path / "x.npy", MATRIX.distances)
    np.save(tmp_path / "flat.npy", np.arange(4))
    np.savez(tmp_path / "shape.npz", ids=np.array(IDS), embeddings=np.zeros(4))
    write_rsm(tmp_path / "two.npz", [MATRIX, MATRIX])
    (tmp_path / "junk.npz").write_bytes(b"junk")
    (tmp_path / "junk.npy").write_bytes(b"junk")
    write(tmp_path / "d.csv", [IDS, *MATRIX.distances.round(12).tolist()])
    write(tmp_path / "word.csv", [["id", "x", "y"], ["a", 1, 2], ["b", 1, "two"]])
    write(tmp_path / "gap.csv", [["id", "x", "y"], ["a", 1, 2], ["b", "", 3]])
    write(tmp_path / "ragged.csv", [["id", "x", "y"], ["a", 1, 2], ["b", 1]])
    write(tmp_path / "twice.csv", [["id", "x"], ["a", 1], ["a", 2]])
    write(tmp_path / "skew.csv", [IDS[:2], [1, 0.2], [0.3, 1]])
    for name, message in {
        "none.npy": "no file",
        "none.npz": "no file",
        "none.csv": "no file",
        "x.npy": r"on its diagonal and .* off it, as distances are; expected similarities: write 1 - distance",
        "d.csv": "is 0 on its diagonal",
        "flat.npy": "does not hold a matrix of numbers",
        "shape.npz": r"holds float64 of shape \(4,\)",
        "two.npz": "holds 2 matrices; expected one",
        "junk.npz": "cannot be read as .npz",
        "junk.npy": "is not an array file",
        "word.csv": "line 3, column 'y': 'two' is no number; expected a square matrix, or ids",
        "gap.csv": "line 3, column 'x': '' is no number",
        "ragged.csv": "line 3 has not the 3 cells",
        "twice.csv": "id 'a' stands more than once",
        "skew.csv": "is not symmetric",
    }.items():
        with pytest.raises(VidsimError, match=message):
            read_space(tmp_path / name)
