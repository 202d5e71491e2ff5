from pathlib import Path

import numpy as np
import pytest
from numpy import ndarray
from planted import judged, planted, space
from safetensors.numpy import save_file

from vidsim.adapt.linear import LinearTransform
from vidsim.adapt.linear_fit import fit_linear
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError


def test_saved_and_loaded_is_equal_to_the_bit(tmp_path: Path):
    embeddings = space()
    fitted = fit_linear(embeddings, judged(embeddings), penalty=0.1)
    path = tmp_path / "linear.safetensors"
    fitted.save(path)
    loaded = LinearTransform.load(path)
    np.testing.assert_array_equal(loaded.weight, fitted.weight)
    np.testing.assert_array_equal(loaded.mean, fitted.mean)
    np.testing.assert_array_equal(loaded.apply(embeddings).matrix, fitted.apply(embeddings).matrix)
    assert [file.name for file in tmp_path.iterdir()] == ["linear.safetensors"]
    half = Embeddings(embeddings.ids, embeddings.matrix.astype(np.float16))
    assert loaded.apply(half).matrix.dtype == np.float32
    strided = LinearTransform(fitted.mean, fitted.weight.T)
    strided.save(path)
    np.testing.assert_array_equal(LinearTransform.load(path).weight, fitted.weight.T)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"mean": np.zeros(3, np.float32)}, "lacks tensor 'weight'"),
        ({"mean": np.zeros(3, np.float32), "weight": np.eye(3, dtype=np.float32), "bias": np.zeros(3)}, "'bias'"),
        ({"mean": np.zeros(3), "weight": np.eye(3, dtype=np.float32)}, "'mean' is float64"),
        ({"mean": np.zeros((3, 1), np.float32), "weight": np.eye(3, dtype=np.float32)}, r"'mean' is float32 of shape"),
        ({"mean": np.zeros(2, np.float32), "weight": np.eye(3, dtype=np.float32)}, "a mean of 2 numbers"),
        ({"mean": np.full(3, np.nan, np.float32), "weight": np.eye(3, dtype=np.float32)}, "not finite"),
    ],
)
def test_loading_is_strict(tmp_path: Path, tensors: dict[str, ndarray], says: str):
    path = tmp_path / "linear.safetensors"
    save_file(tensors, path)
    with pytest.raises(VidsimError, match=says):
        LinearTransform.load(path)


def test_unreadable_and_unwritable_files_are_told(tmp_path: Path):
    path = tmp_path / "linear.safetensors"
    with pytest.raises(VidsimError, match="cannot be read"):
        LinearTransform.load(path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(VidsimError, match="cannot be read"):
        LinearTransform.load(path)
    transform = planted()
    with pytest.raises(VidsimError, match="cannot write"):
        transform.save(tmp_path / "nowhere" / "linear.safetensors")
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    with pytest.raises(VidsimError, match="cannot write"):
        transform.save(folder)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "linear.safetensors"]


def test_embeddings_of_another_width_are_refused():
    with pytest.raises(VidsimError, match="12 dimensions; expected 7"):
        planted(7).apply(space(10))
