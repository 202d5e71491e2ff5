import io
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsim.data.interop import from_cblearn, from_rsatoolbox, read_rsm, to_cblearn, to_rsatoolbox, write_rsm
from vidsim.data.judgments.arrays import read_array
from vidsim.errors import VidsimError
from vidsim.rsm import RSM
from vidsim.triplets import Triplets

from judges import random_rows


def made(n=6, seed=0, ids=None):
    """Return an RSM with gaps and counts."""
    trials = Triplets(ids or tuple(f"clip {i}" for i in range(n)), random_rows(n, 6, seed))
    return trials.rsm()


def equal(a, b):
    assert list(a.ids) == list(b.ids)
    np.testing.assert_allclose(a.similarities, b.similarities, rtol=0, atol=1e-15)


NAMES = ("a", "b é", "日本", "c", "d", "e")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("ids", [None, NAMES])
def test_arrays_come_back(tmp_path, suffix, ids):
    rsm = made(ids=ids)
    assert np.isnan(rsm.upper).any()
    path = tmp_path / f"rsm{suffix}"
    write_rsm(path, rsm)
    (found,) = read_rsm(path)
    equal(found, rsm)
    if suffix == ".npz":
        np.testing.assert_array_equal(found.counts, rsm.counts)
    assert {p.name for p in tmp_path.iterdir()} == {path.name} | ({"rsm.txt"} if suffix == ".npy" else set())


def test_npz_is_what_numpy_reads(tmp_path):
    rsm, other = made(), made(seed=1)
    write_rsm(tmp_path / "a.npz", [rsm, RSM(rsm.ids, other.similarities)])
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["dissimilarities"][0], rsm.distances[np.triu_indices(6, 1)])
        assert file["dissimilarities"].shape == (2, 15)
        assert file["conds"].tolist() == list(rsm.ids)
        assert "counts" not in file.files  # one of the two has none


def test_npy_is_the_square_matrix(tmp_path):
    rsm = made()
    write_rsm(tmp_path / "a.npy", rsm)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), rsm.similarities)
    assert (tmp_path / "a.txt").read_text().split("\n") == [*rsm.ids, ""]


@pytest.mark.parametrize("ids", [None, NAMES])
def test_hdf5_comes_back(tmp_path, ids):
    pytest.importorskip("h5py", reason="HDF5 needs h5py, which comes with rsatoolbox")
    rsm, other = made(ids=ids), made(seed=1, ids=ids)
    write_rsm(tmp_path / "a.h5", [rsm, other])
    found = read_rsm(tmp_path / "a.h5")
    equal(found[0], rsm)
    equal(found[1], other)


@pytest.mark.parametrize("ids", [None, NAMES])
def test_rsatoolbox_reads_what_we_write(tmp_path, ids):
    rsatoolbox = pytest.importorskip("rsatoolbox", reason="the oracle of this layout")
    rsm, other = made(ids=ids), made(seed=1, ids=ids)
    write_rsm(tmp_path / "a.h5", [rsm, other.take(other.ids[::-1])])
    rdms = rsatoolbox.rdm.load_rdm(str(tmp_path / "a.h5"))
    assert rdms.n_rdm == 2
    assert rdms.pattern_descriptors["conds"] == list(rsm.ids)
    np.testing.assert_allclose(rdms.get_matrices()[1], np.where(np.eye(6), 0, other.distances), rtol=0, atol=1e-15)


def test_we_read_what_rsatoolbox_writes(tmp_path):
    rsatoolbox = pytest.importorskip("rsatoolbox", reason="the oracle of this layout")
    rng = np.random.default_rng(0)
    data = rsatoolbox.data.Dataset(rng.normal(size=(5, 9)), obs_descriptors={"stimulus": list("vwxyz")})
    rdms = rsatoolbox.rdm.calc_rdm(data, method="euclidean", descriptor="stimulus")
    rdms.save(str(tmp_path / "b.hdf5"), file_type="hdf5")
    (found,) = read_rsm(tmp_path / "b.hdf5")
    assert list(found.ids) == list("vwxyz")
    np.testing.assert_allclose(found.distances, rdms.get_matrices()[0], atol=1e-12)


def test_rsatoolbox_in_memory():
    rsatoolbox = pytest.importorskip("rsatoolbox", reason="the peer itself")
    rsm, other = made(), made(seed=1)
    rdms = to_rsatoolbox([rsm, other])
    for found, expected in zip(from_rsatoolbox(rdms), (rsm, other), strict=True):
        equal(found, expected)
    (single,) = from_rsatoolbox(to_rsatoolbox(rsm))
    equal(single, rsm)
    chosen = rdms.subset_pattern("conds", list(rsm.ids[2:5]))
    equal(from_rsatoolbox(chosen)[1], other.take(rsm.ids[2:5]))
    plain = rsatoolbox.rdm.RDMs(np.array([[0.1, 0.2, 0.3]]))
    assert from_rsatoolbox(plain)[0].ids == ("0", "1", "2")


class _RDMs:
    def __init__(self, **descriptors):
        self.pattern_descriptors = descriptors

    def get_vectors(self):
        return np.array([[0.1, 0.2, 0.3]])


def test_which_descriptor_names_the_stimuli():
    twice = {"index": [0, 1, 2], "kind": ["a", "a", "b"], "name": ["x", "y", "z"]}
    assert from_rsatoolbox(_RDMs(**twice))[0].ids == ("x", "y", "z")
    several = twice | {"file": ["1", "2", "3"]}
    with pytest.raises(VidsimError, match=r"several pattern descriptors.*: name, file; say which"):
        from_rsatoolbox(_RDMs(**several))
    assert from_rsatoolbox(_RDMs(**several), ids="file")[0].ids == ("1", "2", "3")
    assert from_rsatoolbox(_RDMs(**several, conds=["p", "q", "r"]))[0].ids == ("p", "q", "r")
    with pytest.raises(VidsimError, match="no pattern descriptor 'nope'; there are: index, kind, name"):
        from_rsatoolbox(_RDMs(**twice), ids="nope")
    with pytest.raises(VidsimError, match="'a' stands more than once"):
        from_rsatoolbox(_RDMs(**twice), ids="kind")


def test_missing_packages_name_the_pip_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.setitem(sys.modules, "rsatoolbox.rdm", None)
    monkeypatch.setitem(sys.modules, "rsatoolbox", None)
    with pytest.raises(VidsimError, match=r"pip install h5py$"):
        write_rsm(tmp_path / "a.h5", made())
    (tmp_path / "b.h5").touch()
    with pytest.raises(VidsimError, match=r"pip install h5py$"):
        read_rsm(tmp_path / "b.h5")
    with pytest.raises(VidsimError, match=r"pip install rsatoolbox$"):
        to_rsatoolbox(made())
    assert not (tmp_path / "a.h5").exists()


def test_cblearn_list_order_by_a_slow_loop():
    rows = random_rows(7, 40)
    trials = Triplets(tuple("abcdefg"), rows)
    expected = [row for a, b, odd in rows.tolist() for row in ([a, b, odd], [b, a, odd])]
    assert to_cblearn(trials).tolist() == expected
    assert to_cblearn(trials, "odd-first").tolist() == [[odd, a, b] for a, b, odd in rows.tolist()]


@given(st.integers(0, 10_000), st.integers(0, 60), st.booleans())
@settings(max_examples=40, deadline=None)
def test_cblearn_comes_back_in_any_order(seed, t, shuffled):
    trials = Triplets(tuple("abcdef"), random_rows(6, t, seed).reshape(-1, 3))
    array = to_cblearn(trials)
    if shuffled:
        np.random.default_rng(seed).shuffle(array)
        found = from_cblearn(array, trials.ids)
        # which of two rows stood first is lost, and nothing else
        assert sorted(map(unordered, found.rows.tolist())) == sorted(map(unordered, trials.rows.tolist()))
    else:
        np.testing.assert_array_equal(from_cblearn(array, trials.ids).rows, trials.rows)
        np.testing.assert_array_equal(
            from_cblearn(to_cblearn(trials, "odd-first"), trials.ids, "odd-first").rows, trials.rows
        )


def test_the_importer_reads_what_we_write(tmp_path):
    trials = Triplets(tuple("abcdef"), random_rows(6, 50))
    np.save(tmp_path / "t.npy", to_cblearn(trials))
    found = read_array(tmp_path / "t.npy", order="comparisons", names=trials.ids).triplets
    rsm = trials.rsm()
    np.testing.assert_array_equal(found.rsm().take(trials.ids).similarities, rsm.similarities)


def test_bad_trials():
    lone = np.array([[0, 1, 2], [1, 0, 2], [3, 1, 2]])
    with pytest.raises(VidsimError, match=r"row 2 \(3, 1, 2\) is without its partner \(1, 3, 2\) \(1 such rows\)"):
        from_cblearn(lone, tuple("abcd"))
    with pytest.raises(VidsimError, match="positions from 0 to 2; expected 0 to 1"):
        from_cblearn(lone[:2], tuple("ab"))
    for call in (
        lambda: to_cblearn(Triplets(("a",), np.empty((0, 3), int)), "tensor"),
        lambda: from_cblearn(lone, (), "x"),
    ):
        with pytest.raises(VidsimError, match="expected 'list-order' or 'odd-first'"):
            call()


def test_bad_files(tmp_path):
    rsm = made()
    write_rsm(tmp_path / "a.npy", rsm)
    write_rsm(tmp_path / "a.npz", rsm)
    (tmp_path / "ids.npy").write_bytes((tmp_path / "a.npy").read_bytes())
    (tmp_path / "short.npy").write_bytes((tmp_path / "a.npy").read_bytes())
    (tmp_path / "short.txt").write_text("x\ny\n")
    np.save(tmp_path / "flat.npy", np.arange(3))
    np.save(tmp_path / "pickle.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "array.npz").write_bytes((tmp_path / "a.npy").read_bytes())
    (tmp_path / "archive.npy").write_bytes((tmp_path / "a.npz").read_bytes())
    np.savez(tmp_path / "other.npz", x=np.arange(3))
    np.savez(tmp_path / "counts.npz", dissimilarities=np.zeros((1, 3)), conds=list("abc"), counts=np.ones((1, 2), int))
    np.savez(tmp_path / "length.npz", dissimilarities=np.zeros((1, 4)), conds=list("abc"))
    crooked = rsm.similarities.copy()
    crooked[0, 1] = 7
    np.save(tmp_path / "crooked.npy", crooked)
    (tmp_path / "crooked.txt").write_text("".join(f"{i}\n" for i in range(6)))
    cases = {
        "none.npy": "no file",
        "x.pkl": "pickles can run any code and are not read; save it with file_type='hdf5'",
        "x.csv": "expected a name that ends in .h5, .hdf5, .npz, .npy",
        "ids.npy": "ids.txt': expected the ids of .* there, one a line",
        "short.npy": "holds 2 ids for 6 rows",
        "flat.npy": r"of shape \(3,\); expected a square matrix",
        "pickle.npy": "cannot be read as .npy: Object arrays cannot be loaded",
        "array.npz": "is a single array",
        "archive.npy": "is an archive of arrays",
        "other.npz": "lacks 'conds'; it holds: x",
        "counts.npz": r"counts of shape \(1, 2\)",
        "length.npz": r"dissimilarities of shape \(1, 4\)",
        "crooked.npy": "not symmetric",
    }
    for name, message in cases.items():
        with pytest.raises(VidsimError, match=message):
            read_rsm(tmp_path / name)
    with pytest.raises(VidsimError, match="expected a name that ends in"):
        write_rsm(tmp_path / "a.mat", rsm)
    with pytest.raises(VidsimError, match="can hold one matrix, 2 were given"):
        write_rsm(tmp_path / "two.npy", [rsm, rsm])
    with pytest.raises(VidsimError, match="does not fit on a line"):
        write_rsm(tmp_path / "line.npy", RSM(("a\nb", "c"), np.eye(2)))
    with pytest.raises(VidsimError, match="6 and 5 stimuli"):
        write_rsm(tmp_path / "two.npz", [rsm, rsm.take(rsm.ids[:5])])
    with pytest.raises(VidsimError, match="cannot be written: No such file or directory"):
        write_rsm(tmp_path / "no" / "a.npz", rsm)
    with pytest.raises(VidsimError, match="at least one"):
        to_rsatoolbox([])


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".h5"])
def test_damaged_files_are_told_of(tmp_path, suffix):
    if suffix == ".h5":
        pytest.importorskip("h5py", reason="HDF5 needs h5py")
    path = tmp_path / f"a{suffix}"
    write_rsm(path, made())
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(whole)
        if rng.random() < 0.4:
            data = data[: rng.integers(len(data))]
        else:
            for place in rng.integers(len(data), size=3):
                data[place] = rng.integers(256)
        path.write_bytes(data)
        with suppress(VidsimError):  # a bit that does not matter is no error
            read_rsm(path)


def test_many_ids_that_are_not_ascii(tmp_path):
    """An attribute holds them; ordinary ones end at 64 KiB."""
    pytest.importorskip("h5py", reason="HDF5 needs h5py")
    ids = tuple(f"é{i}" for i in range(1500)) + tuple("ü" * 60 + str(i) for i in range(1500))
    write_rsm(tmp_path / "a.h5", RSM(ids, np.eye(3000)))
    assert read_rsm(tmp_path / "a.h5")[0].ids == ids


def test_a_file_is_replaced_whole(tmp_path, monkeypatch):
    write_rsm(tmp_path / "a.npz", made())
    before = (tmp_path / "a.npz").read_bytes()

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(VidsimError, match="No space left"):
        write_rsm(tmp_path / "a.npz", made(seed=2))
    monkeypatch.undo()
    assert (tmp_path / "a.npz").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_no_pickle_is_ever_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit('pickle was run')",))

    data = io.BytesIO()
    np.savez(data, dissimilarities=np.array([Trap()], object), conds=np.array(["a", "b"]))
    (tmp_path / "a.npz").write_bytes(data.getvalue())
    with pytest.raises(VidsimError, match="Object arrays cannot be loaded"):
        read_rsm(tmp_path / "a.npz")


def unordered(row):
    a, b, odd = row
    return min(a, b), max(a, b), odd
