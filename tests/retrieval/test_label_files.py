from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from vidsim.data.judgments.predicted import TRIPLETS
from vidsim.retrieval import label as module
from vidsim.retrieval.label import Labels, label
from vidsim.retrieval.label_files import write_similarities, write_triplets

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(30, 7)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
IDS = tuple(f"clip {k} ü.mp4" for k in range(30))


def test_what_is_written_is_what_any_reader_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 100)
    parts = list(label(VECTORS, 0.2, count=1050))
    done = []
    with (tmp_path / "labels.parquet").open("wb") as file:
        written = write_triplets(file, IDS, parts, {"encoder": "net", "layer": "x"}, done.append)
    assert done == [*range(100, 1001, 100), 1050]
    every = Labels(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("rows", "probability", "entropy")))
    frame = pd.read_parquet(tmp_path / "labels.parquet")
    for at, name in enumerate(("a", "b", "odd")):
        assert frame[name].tolist() == [IDS[row] for row in every.rows[:, at]]
    np.testing.assert_array_equal(frame["probability"], every.probability)
    np.testing.assert_array_equal(frame["entropy"], every.entropy)
    with parquet.ParquetFile(tmp_path / "labels.parquet") as file:
        assert file.schema_arrow.remove_metadata() == TRIPLETS
        assert file.num_row_groups == 11
        assert b"predicted" in file.schema_arrow.metadata
    assert written.triplets == 1050
    assert written.probability == pytest.approx(every.probability.mean())
    assert written.entropy == pytest.approx(every.entropy.mean())
    assert list(written.quantiles.values()) == pytest.approx(
        np.quantile(every.probability, [0.05, 0.5, 0.95]), abs=0.01
    )
    counts = np.bincount(every.rows.ravel(), minlength=30)
    assert written.occurrences == (counts.min(), counts.max())


def test_ids_take_little_room(tmp_path):
    # 3 x 13 bits of 8,000 ids, and two numbers that hardly compress
    vectors = RNG.normal(size=(8000, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"a/very/long/folder/of/clips/clip {k:06}.mp4" for k in range(8000)]
    with (tmp_path / "labels.parquet").open("wb") as file:
        write_triplets(file, ids, label(vectors, 0.1, count=200_000), {})
    assert (tmp_path / "labels.parquet").stat().st_size / 200_000 < 15


def test_similarities_of_all_pairs_are_the_cosines(tmp_path, monkeypatch):
    monkeypatch.setattr("vidsim.retrieval.label_files.BLOCK_BYTES", 30 * 4 * 7)  # 7 rows at a time
    done = []
    with (tmp_path / "rsm.parquet").open("wb") as file:
        write_similarities(file, IDS, VECTORS, {"encoder": "net", "layer": "x"}, done.append)
    assert done == [7, 14, 21, 28, 30]
    frame = pd.read_parquet(tmp_path / "rsm.parquet")
    assert tuple(frame["id"]) == IDS
    found = np.stack(frame["similarity"].to_list())
    assert found.dtype == np.float32
    x = VECTORS.astype(float)
    np.testing.assert_allclose(found, x @ x.T / np.outer(*[np.linalg.norm(x, axis=1)] * 2), atol=1e-6)
    assert (np.diag(found) == 1).all()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_full_disk_is_said_as_the_system_says_it():
    with pytest.raises(OSError, match="No space left on device"), Path("/dev/full").open("wb", buffering=0) as file:
        write_triplets(file, IDS, label(VECTORS, 0.2, count=10), {})
