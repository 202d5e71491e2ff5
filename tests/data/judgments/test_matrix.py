import numpy as np
import pytest

from vidsim.data.judgments.matrix import read_matrix
from vidsim.errors import VidsimError

from judges import write_csv

IDS = ["a", "b", "c"]
SIMILARITY = np.array([[1, 0.25, 0], [0.25, 1, 0.5], [0, 0.5, 1]])
COUNTS = np.array([[0, 4, 0], [4, 0, 2], [0, 2, 0]])


def write(path, matrix, ids=IDS, *, index=False, separator=",", comma=False, half=""):
    def cell(i, j):
        if (half == "lower" and j > i) or (half == "upper" and j < i):
            return ""
        return str(matrix[i][j]).replace(".", "," if comma else ".")

    rows = [[*([ids[i]] if index else []), *(cell(i, j) for j in range(len(ids)))] for i in range(len(ids))]
    return write_csv(path, [*([""] if index else []), *ids], rows, separator)


@pytest.mark.parametrize("half", ["", "lower", "upper"])
@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize(("separator", "comma"), [(",", False), (";", True), ("\t", False)])
def test_layouts(tmp_path, half, index, separator, comma):
    layout = {"index": index, "separator": separator, "comma": comma, "half": half}
    path = write(tmp_path / "rsm.csv", SIMILARITY, **layout)
    counts = write(tmp_path / "counts.csv", COUNTS, **layout)
    rsm = read_matrix(path, counts=counts)
    assert rsm.ids == ("a", "b", "c")
    np.testing.assert_array_equal(rsm.similarities, np.where(COUNTS + np.eye(3) > 0, SIMILARITY, np.nan))
    np.testing.assert_array_equal(rsm.counts, COUNTS)


def test_counts_may_be_of_more_stimuli_in_another_order(tmp_path):
    path = write(tmp_path / "rsm.csv", SIMILARITY)
    ids = ["x", "c", "b", "a"]
    larger = np.arange(16).reshape(4, 4)
    larger = larger + larger.T
    rsm = read_matrix(path, counts=write(tmp_path / "counts.csv", larger, ids))
    assert rsm.counts[0, 2] == larger[3, 1]
    assert rsm.counts[1, 2] == larger[2, 1]


def test_the_meaning_of_zero_must_be_said(tmp_path):
    path = write(tmp_path / "rsm.csv", SIMILARITY)
    with pytest.raises(VidsimError, match="1 pairs with similarity 0, which may mean never judged or never together"):
        read_matrix(path)
    assert np.isnan(read_matrix(path, zero="unseen").similarities[0, 2])
    assert read_matrix(path, zero="similarity").similarities[0, 2] == 0
    assert read_matrix(path, zero="similarity").counts is None


def test_arrays(tmp_path):
    np.save(tmp_path / "rsm.npy", SIMILARITY)
    assert read_matrix(tmp_path / "rsm.npy", zero="unseen").ids == ("0", "1", "2")
    assert read_matrix(tmp_path / "rsm.npy", zero="unseen", ids=IDS).ids == ("a", "b", "c")


@pytest.mark.parametrize(
    ("ids", "rows", "message"),
    [
        (
            IDS,
            [[1, 0.2, 0.3], [0.2, 1, 0.4], [0.3, 0.5, 1]],
            "not symmetric: 'b' with 'c' is 0.4, the other way round 0.5",
        ),
        (IDS, [[1, 0.2, 0.3], [0.2, 1, 0.4]], "holds 2 rows of 3 values for 3 ids"),
        (IDS, [[1, 0.2, "x"], [0.2, 1, 0.4], [0.3, 0.4, 1]], "line 2, column 'c': 'x' is no number"),
        (IDS, [[1, 0.2], [0.2, 1, 0.4], [0.3, 0.4, 1]], "line 2 has not the 3 cells"),
        (["", "a", "b"], [["a", 1, 0.5], ["x", 0.5, 1]], "line 3: the row is of 'x', the column of 'b'"),
    ],
)
def test_other_tables_are_refused(tmp_path, ids, rows, message):
    path = write_csv(tmp_path / "rsm.csv", ids, rows)
    with pytest.raises(VidsimError, match=message):
        read_matrix(path)


@pytest.mark.parametrize("kind", ["csv", "half", "npy", "counts"])
@pytest.mark.parametrize("diagonal", [0.0, 1e-12, 0.1])
def test_distances_are_refused(tmp_path, kind, diagonal):
    distances = np.array([[diagonal, 0.5, 0.25], [0.5, diagonal, 0.75], [0.25, 0.75, diagonal]])
    path = tmp_path / "rdm.npy"
    if kind == "npy":
        np.save(path, distances)
    else:
        path = write(tmp_path / "rdm.csv", distances, index=True, half="upper" if kind == "half" else "")
    counts = write(tmp_path / "counts.csv", np.full((3, 3), 2)) if kind == "counts" else None
    message = rf"is {diagonal:g} on its diagonal and 0\.25 to 0\.75 off it, as distances are; expected similarities"
    with pytest.raises(VidsimError, match=message):
        read_matrix(path, counts=counts)
    for filler in (1, np.nan):
        np.fill_diagonal(distances, filler)
        np.save(tmp_path / "rsm.npy", distances)
        expected = np.where(np.eye(3) > 0, 1, distances)
        np.testing.assert_array_equal(read_matrix(tmp_path / "rsm.npy").similarities, expected)


def test_distances_of_the_same_are_not_taken_for_pairs_unseen(tmp_path):
    same = write(tmp_path / "rdm.csv", [[0, 0, 0.5], [0, 0, 0.5], [0.5, 0.5, 0]])
    for zero in (None, "unseen", "similarity"):
        with pytest.raises(VidsimError, match=r"is 0 on its diagonal and 0 to 0\.5 off it, as distances are"):
            read_matrix(same, zero=zero)


def test_counts_that_do_not_fit_are_refused(tmp_path):
    path = write(tmp_path / "rsm.csv", SIMILARITY)
    with pytest.raises(VidsimError, match="no counts for 1 of 3 ids, the first is 'c'"):
        read_matrix(path, counts=write(tmp_path / "counts.csv", COUNTS, ["a", "b", "x"]))
    with pytest.raises(VidsimError, match="no counts; expected whole numbers"):
        read_matrix(path, counts=write(tmp_path / "counts.csv", COUNTS / 3))


def test_the_released_matrices_are_the_trials(shared):
    from vidsim.data.judgments.released import read_release

    folder = shared / "data" / "social-ooo"
    files = folder / "data" / "interim" / "similarity"
    judgments, _ = read_release(folder)
    computed = judgments.triplets.rsm()
    stored = read_matrix(files / "sim_judg_train_rsm.csv", counts=files / "count_df_train.csv")
    np.testing.assert_array_equal(stored.similarities, computed.similarities)
    np.testing.assert_array_equal(stored.counts, computed.counts)
    zeros = np.nan_to_num(computed.similarities)
    raw = read_matrix(files / "sim_judg_train_rsm.csv", zero="similarity").similarities
    assert np.abs(zeros - raw).max() == 0.0
