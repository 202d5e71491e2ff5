import json

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

from vidsim.analysis.ordinal import candidates, cross_validate, denoised_rsm, fit
from vidsim.data.judgments.judgments import Judgments
from vidsim.rsm import RSM
from vidsim.store import Store


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return a store with the judgments ``pilot``."""
    from vidsim.data.simulate import planted_rsm, simulate

    place = tmp_path_factory.mktemp("root")
    judgments = simulate(planted_rsm(15, 3), trials=600, temperature=0.2)
    Store(place, create=True).judgments.put("pilot", judgments.table())
    return place


@pytest.fixture(scope="module")
def triplets(root):
    return Judgments.from_table(Store(root).judgments["pilot"]).triplets


def test_an_embedding_is_validated_written_and_kept(vidsim, root, triplets, tmp_path):
    options = ("--dims", 3, "--l2", 1, "--root", root, "--json")
    expected = fit(triplets, 3, l2=1.0)
    held_out = cross_validate(triplets, candidates(3, l2=1.0))
    for suffix in ("npz", "csv", "parquet"):
        out = tmp_path / f"e.{suffix}"
        status, text, err = vidsim("judgments", "embed", "pilot", *options, "--out", out)
        assert (status, err, text.count("\n")) == (0, "", 1)
        facts = json.loads(text)
        if suffix == "npz":
            with np.load(out, allow_pickle=False) as file:
                ids, matrix = file["ids"].tolist(), file["embeddings"]
        else:
            table = (pyarrow.csv.read_csv if suffix == "csv" else pyarrow.parquet.read_table)(out)
            assert table.column_names == ["id", "dim1", "dim2", "dim3"]
            ids = table["id"].to_pylist()
            matrix = np.column_stack([table[f"dim{d}"].to_numpy() for d in (1, 2, 3)])
        assert tuple(ids) == expected.embeddings.ids
        np.testing.assert_allclose(matrix, expected.embeddings.matrix)
    known = {"dims": 3, "trials": 600, "stimuli": 15, "folds": 5, "l1": 0, "l2": 1, "nested": False}
    known |= {"nonnegative": False, "converged": True}
    assert {key: facts[key] for key in known} == known
    measured = {key: facts[key] for key in ("accuracy", "accuracy_sd", "log_likelihood", "chance")}
    expected_measures = (held_out.accuracy, held_out.accuracy_sd, held_out.log_likelihood, 1 / 3)
    assert tuple(measured.values()) == pytest.approx(expected_measures)
    assert facts["seconds"] > 0
    status, _, err = vidsim("judgments", "embed", "pilot", *options, "--name", "denoised")
    assert (status, err) == (0, "")
    kept = RSM.from_table(Store(root).rsms["denoised"])
    np.testing.assert_allclose(kept.similarities, denoised_rsm(expected).similarities)
    status, _, err = vidsim("judgments", "embed", "pilot", *options, "--name", "denoised")
    assert status == 2
    assert "the name 'denoised' is taken by similarities" in err


def test_a_store_that_cannot_be_written_is_refused_before_anything_is_fitted(vidsim, root, monkeypatch):
    def closed(dir):
        raise OSError(30, "Read-only file system", str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", closed)
    monkeypatch.setattr("vidsim.analysis.ordinal.cross_validate", lambda *_, **__: pytest.fail("fitted"))
    assert vidsim("judgments", "embed", "pilot", "--name", "kept", "--root", root) == (
        *(2, ""),
        f"vidsim: the similarities cannot be kept under {str(root)!r}: Read-only file system; make it writable and run "
        "the same command again\n",
    )


def test_dimensions_and_penalties_are_chosen_in_the_open(vidsim, root):
    options = ("--dims", "1,3", "--nonnegative", "--folds", 3, "--root", root)
    status, text, err = vidsim("judgments", "embed", "pilot", *options, "--json")
    assert (status, err) == (0, "")
    facts = json.loads(text)
    assert [(c["dims"], c["l1"], c["l2"]) for c in facts["candidates"]] == [
        (d, l1, 0) for d in (1, 3) for l1 in (1, 2, 4)
    ]
    best = max(facts["candidates"], key=lambda c: c["log_likelihood"])
    assert (facts["dims"], facts["l1"]) == (best["dims"], best["l1"])
    assert facts["dims"] == 3
    assert facts["nested"]
    status, text, err = vidsim("judgments", "embed", "pilot", *options)
    assert (status, err) == (0, "")
    assert "chosen without the trials that are predicted" in text
    assert f"{facts['accuracy']:.4f}" in text


def test_a_split_has_its_own_embedding(vidsim, shared, tmp_path):
    release = shared / "data" / "social-ooo"
    options = ("--split", "val", "--dims", 2, "--l2", 1, "--folds", 2, "--out", tmp_path / "e.npz", "--json")
    status, text, err = vidsim("judgments", "embed", release, *options)
    assert (status, err) == (0, "")
    facts = json.loads(text)
    assert facts["trials"] == 175
    assert facts["stimuli"] <= 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--dims", "0"), "--dims '0': expected a number from 1 to 1000"),
        (("--dims", "many"), "or auto"),
        (("--dims", "2,,3"), "or auto"),
        (("--dims", "9" * 5000), "or auto"),
        (("--dims", "2", "--l1", "1"), "only nonnegative embeddings sparse"),
        (("--dims", "2", "--folds", "2"), "2 folds for 4 candidates"),
        (("--dims", "2", "--folds", "900"), "cannot be dealt to 900 folds"),
        (("--dims", "2", "--out", "e.txt"), "ends in .npz or .csv or .parquet"),
        (("--dims", "2", "--l2", "nan"), "'--l2': Input should be"),
    ],
)
def test_what_cannot_be_embedded_is_said_in_one_line(vidsim, root, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = vidsim("judgments", "embed", "pilot", "--root", root, *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert list(tmp_path.iterdir()) == []
    status, out, err = vidsim("judgments", "embed", "pilat", "--root", root)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "did you mean 'pilot'" in err
