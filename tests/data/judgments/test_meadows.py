import json

import numpy as np
import pytest
from scipy.io import savemat

from vidsim.data.judgments.meadows import mean_rsm, read_arrangements
from vidsim.errors import VidsimError


def test_real_exports(shared):
    folder = shared / "data" / "meadows"
    several = read_arrangements(folder / "Meadows_myExp_v_v1_arrangement_1D.mat")
    assert sorted(several) == ["able-fly", "clean-koi", "cuddly-bunny"]
    (single,) = read_arrangements(folder / "Meadows_myExp_v_v1_cuddly-bunny_3_1D.mat").values()
    (tree,) = read_arrangements(folder / "Meadows_myExp_v_v1_cuddly-bunny_3_tree.json").values()
    assert len(single) == len(tree) == 118
    assert set(single.ids) == {f"stim{i:03d}" for i in range(1, 119)}
    raw = json.loads((folder / "Meadows_myExp_v_v1_cuddly-bunny_3_tree.json").read_text())
    assert tree.distances[np.triu_indices(118, 1)] == pytest.approx(raw["rdm"], abs=1e-12)
    names = [s["name"].removesuffix(".png") for s in raw["stimuli"]]
    assert list(tree.ids) == names
    np.testing.assert_allclose(single.take(names).distances, tree.distances, atol=1e-9)
    np.testing.assert_allclose(several["cuddly-bunny"].take(names).distances, tree.distances, atol=1e-9)
    two = read_arrangements(folder / "Meadows_twoMaTasks_v_v1_informed-mole_tree.json")
    assert sorted(two) == ["informed-mole/ma1", "informed-mole/ma2"]


def test_the_mean_is_of_dissimilarities_of_equal_size():
    from vidsim.rsm import RSM, square

    rng = np.random.default_rng(0)
    first, second = rng.random(6), rng.random(6)
    ids = ("a", "b", "c", "d")
    rsms = {"x": RSM(ids, 1 - square(first, 4, 0.0)), "y": RSM(ids, 1 - square(50 * second, 4, 0.0)).take(ids[::-1])}
    mean = mean_rsm(rsms)
    expected = first / np.sqrt((first**2).mean()) / 2 + second / np.sqrt((second**2).mean()) / 2
    np.testing.assert_allclose(mean.distances[np.triu_indices(4, 1)], expected)
    assert (mean.upper_counts == 2).all()
    with pytest.raises(VidsimError, match="'z' arranged other stimuli than 'x'"):
        mean_rsm({**rsms, "z": RSM(("a", "b", "c", "e"), np.eye(4))})
    with pytest.raises(VidsimError, match="all dissimilarities of 'z' are 0"):
        mean_rsm({**rsms, "z": RSM(ids, np.ones((4, 4)))})


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"x": [1]}, "no variable rdmutv.*it has x"),
        ({"rdmutv": [[1.0, 2, 3]]}, "rdmutv but no stimuli"),
        ({"rdmutv": [[1.0, 2]], "stimuli": ["a", "b", "c"]}, "2 dissimilarities of .* for 3 stimuli; expected 3"),
    ],
)
def test_other_mat_files_are_refused(tmp_path, variables, message):
    path = tmp_path / "Meadows_x_v_v1_able-fly_1_1D.mat"
    savemat(path, variables)
    with pytest.raises(VidsimError, match=message):
        read_arrangements(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[1, 2]", "is not the tree of a Meadows participant"),
        ('{"tasks": [{"task": {"task_type": "info"}}]}', "no finished multi-arrangement task"),
        ('{"tasks": 3}', "is not the tree"),
        (
            '{"task": {"task_type": "multiarrange", "name": "m"}, "stimuli": [{"name": "a"}], "rdm": ["x"]}',
            "are no numbers",
        ),
    ],
)
def test_other_json_files_are_refused(tmp_path, content, message):
    (tmp_path / "tree.json").write_text(content)
    with pytest.raises(VidsimError, match=message):
        read_arrangements(tmp_path / "tree.json")


def test_damaged_and_missing_files(tmp_path):
    (tmp_path / "x.mat").write_bytes(b"garbage" * 100)
    with pytest.raises(VidsimError, match="cannot be read as a MATLAB file"):
        read_arrangements(tmp_path / "x.mat")
    with pytest.raises(VidsimError, match="no file"):
        read_arrangements(tmp_path / "none.mat")
