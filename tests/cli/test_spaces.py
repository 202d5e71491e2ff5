import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from tiny_adapters import BASE

from vidsim.adapt.card import FAMILY
from vidsim.adapt.manifest import Manifest
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
    mean = put(store, "words", 2, family="sentence", features={"captions": "mean"})
    for captions, expected in (("mean", mean), ("first", first)):
        found = find_space("words", store.root, captions).embeddings(IDS)
        np.testing.assert_array_equal(found.matrix, expected["head"])


def test_captions_choose_the_table_of_any_family_that_reads_them(store):
    mean, first = (
        put(store, "mine", k, family="another.package:Text", features={"captions": captions})
        for k, captions in enumerate(("mean", "first"))
    )
    put(store, "seen", 3, family="image", features={"dtype": "float32"})
    for captions, expected in (("mean", mean), ("first", first)):
        found = find_space("mine", store.root, captions).embeddings(IDS)
        np.testing.assert_array_equal(found.matrix, expected["head"])
        assert find_space("seen", store.root, captions).name == "seen:head"


def write_manifest(store, name, digest):
    folder = Path(store.root, "adapters", name)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"recipe": {}, "data": {}, "versions": {}, "curve": [], "seed": 0, "parameters": 1, "head": 0}
    made = Manifest(name=name, base=BASE, layer="x", files={"head.safetensors": digest}, **facts)
    made.write(folder)
    return made


def test_of_an_adapter_what_its_present_weights_gave_is_read(store):
    old, new = (write_manifest(store, "mine", digest).weights for digest in ("ab", "cd"))
    assert new == sha256(f"{BASE['weights']}head.safetensorscd".encode()).hexdigest()
    first = put(store, "mine", 1, family=FAMILY, weights=old)
    with pytest.raises(VidsimError) as refused:
        find_space("mine", store.root)
    assert str(refused.value) == (
        "'mine' has other weights than when its embeddings were stored, as it was trained again; extract them anew: "
        "vidsim extract --stimuli NAME --encoder mine"
    )
    second = put(store, "mine", 2, family=FAMILY, weights=new)
    np.testing.assert_array_equal(find_space("mine", store.root).embeddings(IDS).matrix, second["head"])
    write_manifest(store, "mine", "ab")  # an earlier copy is put back
    np.testing.assert_array_equal(find_space("mine", store.root).embeddings(IDS).matrix, first["head"])
    shutil.rmtree(Path(store.root, "adapters"))
    np.testing.assert_array_equal(find_space("mine", store.root).embeddings(IDS).matrix, second["head"])


def test_of_several_tables_the_one_read_is_named_and_each_can_be_asked_for(store, capsys):
    old, new = (put(store, "toy", k, projection=k) for k in range(2))
    names = [table.name for table in store.tables("toy")]
    np.testing.assert_array_equal(find_space("toy", store.root).embeddings(IDS).matrix, new["head"])
    told = f"vidsim: of toy the table made last is read, {names[0]}; there is also {names[1]}\n"
    assert capsys.readouterr() == ("", told)
    for name, points in zip(names, (new, old), strict=True):
        for layer in ("head", "block.1"):
            space = find_space(f"{name}:{layer}", store.root)
            assert space.name == f"{name}:{layer}"
            np.testing.assert_array_equal(space.embeddings(IDS).matrix, points[layer])
    assert capsys.readouterr() == ("", "")


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
