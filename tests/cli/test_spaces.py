import numpy as np
import pytest

from vidsim.cli.spaces import find_space
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import cosine_rsm
from vidsim.store import Entry, Store

IDS = ("a", "b", "c", "d")


def put(store, encoder, seed, layers=("block.1", "head"), **identity):
    points = {name: np.random.default_rng([seed, k]).normal(size=(4, 3)) for k, name in enumerate(layers)}
    points = {name: values.astype(np.float32) for name, values in points.items()}
    table = store.create(encoder, identity, dict.fromkeys(layers, 3), default_layer=layers[-1], versions={})
    table.write([Entry(n, f"/{n}", n) for n in IDS], points)
    return points


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "root", create=True)


def test_layers_and_matrices(store):
    points = put(store, "toy", 0)
    store.rsms.put("toy:theory", cosine_rsm(Embeddings(IDS, points["head"] ** 2)).table())
    for name, full, expected in (
        ("toy", "toy:head", points["head"]),
        ("toy:block.1", "toy:block.1", points["block.1"]),
        ("toy:theory", "toy:theory", points["head"] ** 2),
    ):
        space = find_space(name, store.root)
        assert space.name == full
        rsm = space.rsm(["d", "a"])
        assert rsm.ids == ("d", "a")
        np.testing.assert_allclose(
            rsm.similarities, cosine_rsm(Embeddings(IDS, expected)).take(["d", "a"]).similarities
        )
    np.testing.assert_array_equal(find_space("toy", store.root).embeddings(["c"]).matrix, points["head"][[2]])
    with pytest.raises(VidsimError, match="'toy:theory' is a similarity matrix; expected embeddings"):
        find_space("toy:theory", store.root).embeddings(["c"])


def test_captions_choose_the_table(store):
    first = put(store, "words", 1, family="sentence", features={"captions": "first"})
    with pytest.raises(
        VidsimError, match="stored for --captions first, not mean: vidsim extract --stimuli NAME --encoder w"
    ):
        find_space("words", store.root)
    mean = put(store, "words", 2, family="sentence", features={})
    for captions, expected in (("mean", mean), ("first", first)):
        found = find_space("words", store.root, captions).embeddings(IDS)
        np.testing.assert_array_equal(found.matrix, expected["head"])


def test_a_layer_is_found_in_whichever_table_has_it(store):
    old = put(store, "toy", 3, checkpoint="old")
    put(store, "toy", 4, ("head",), checkpoint="new")
    found = find_space("toy:block.1", store.root).embeddings(IDS)
    np.testing.assert_array_equal(found.matrix, old["block.1"])


def test_files(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    points = put(store, "e.csv", 5)
    (tmp_path / "e.csv").write_text("id,x,y\na,1,0\nb,0,1\nc,1,1\n")
    # an encoder of that name comes first; ./ is always a file
    np.testing.assert_array_equal(find_space("e.csv", store.root).embeddings(["a"]).matrix, points["head"][[0]])
    assert find_space("./e.csv", store.root).embeddings(["b"]).matrix.tolist() == [[0, 1]]
    assert find_space(str(tmp_path / "e.csv"), str(tmp_path / "nowhere")).ids == ("a", "b", "c")
    (tmp_path / "f.csv").write_text("id,x,y\na,1,0\n")
    assert find_space("f.csv", store.root).ids == ("a",)
    assert find_space("f.csv", str(tmp_path / "nowhere")).ids == ("a",)


def test_what_is_missing(store, tmp_path):
    put(store, "timesformer-base", 6)
    for name, message in (
        ("timesformer-bas", "did you mean 'timesformer-base'?"),
        ("timesformer-base:block.2", "has no layer 'block.2'; did you mean 'block.1'?"),
        ("./none.csv", "no file"),
    ):
        with pytest.raises(VidsimError, match=message):
            find_space(name, store.root)
    with pytest.raises(VidsimError, match="no file 'x', and there is no store in"):
        find_space("x", str(tmp_path / "nowhere"))
    with pytest.raises(VidsimError, match="'x'; the store is empty"):
        find_space("x", Store(tmp_path / "empty", create=True).root)
    with pytest.raises(VidsimError, match="lacks 2 of 3 stimuli, the first is 'p'; it has 4, such as 'a': extract"):
        find_space("timesformer-base", store.root).rsm(["a", "p", "q"])
