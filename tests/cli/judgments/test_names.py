import numpy as np
import pytest
from tiny_adapters import BASE
from tiny_cards import WHOLE, write

from vidsim.adapt.folder import adapters_of
from vidsim.adapt.manifest import Manifest
from vidsim.cli.judgments.names import check_name, refuse_matrices
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import cosine_rsm
from vidsim.store import Store

from judges import write_csv


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return a root with embeddings of ``stored``, an adapter ``mine``, similarities ``human``, and a user's card."""
    (tmp_path / "cards").mkdir()
    write(tmp_path / "cards", WHOLE)
    monkeypatch.setenv("VIDSIM_CARDS", str(tmp_path / "cards"))
    root = tmp_path / "root"
    store = Store(root, create=True)
    store.create("stored", {}, {"head": 2}, default_layer="head", versions={})
    store.rsms.put("human", cosine_rsm(Embeddings(("a", "b"), np.eye(2))).table())
    folder = adapters_of(str(root)) / "mine"
    folder.mkdir(parents=True)
    empty = {"layer": "x", "head": 0, "files": {}, "recipe": {}, "data": {}, "versions": {}, "curve": []}
    Manifest(name="mine", base=BASE, seed=0, parameters=1, **empty).write(folder)
    return str(root)


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize(
    "name", ["all-MiniLM-L6-v2", "CLIP", "clip-vit-b-32:visual", "my-videomae", "mine", "mine:head", "stored"]
)
def test_similarities_are_not_called_as_what_embeds(root, name, force):
    with pytest.raises(
        VidsimError, match=rf"^--name '{name}': '{name.split(':')[0]}' is an encoder or adapter; choose"
    ):
        check_name(name, root, "rsms", force=force)
    check_name(name, root, "judgments", force=force)


@pytest.mark.parametrize("kind", ["judgments", "rsms"])
def test_a_name_that_is_read_as_a_path_is_refused(root, kind):
    for name in ("../x", ".x", "/x", "~x"):
        with pytest.raises(VidsimError, match=f"^--name '{name}' would be read as a path; expected a name for "):
            check_name(name, root, kind, force=True)
    check_name("x/y.csv", root, kind, force=False)


def test_an_adapter_does_not_hide_similarities(root):
    refuse_matrices(["other"], root)
    refuse_matrices(["human"], root + " elsewhere")
    with pytest.raises(VidsimError, match=r"^'human' is the name of similarities in '.*'; choose another for"):
        refuse_matrices(["other", "human"], root)


def test_verbs_ask_before_anything_is_stored(vidsim, tmp_path):
    trials = write_csv(tmp_path / "t.csv", ["a", "b", "odd"], [["x", "y", "z"]] * 3)
    matrix = write_csv(tmp_path / "m.csv", ["x", "y"], [[1, 0.5], [0.5, 1]])
    root = ("--root", tmp_path / "root")
    for arguments, told in (
        (("import", trials, "--name", "../x"), "'../x' would be read as a path; expected a name for judgments"),
        (("import", matrix, "--name", "CLIP"), "'CLIP' is an encoder or adapter"),
        (("embed", trials, "--name", "CLIP"), "'CLIP' is an encoder or adapter"),
        (("simulate", "--stimuli", 9, "--trials", 9, "--name", ".x"), "'.x' would be read as a path"),
    ):
        status, out, err = vidsim("judgments", *arguments, *root)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert told in err
    assert not (tmp_path / "root").exists()
