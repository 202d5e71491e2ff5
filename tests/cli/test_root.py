import pytest

from vidsim.cli.root import root_of


@pytest.mark.parametrize(
    ("root", "right"),
    [
        ("s3:/b/p", "s3://b/p"),
        ("s3:b/p", "s3://b/p"),
        ("s3:///b/p", "s3://b/p"),
        ("s3://", "s3://bucket/prefix"),
        ("gs://", "gs://bucket/prefix"),
        ("az:", "az://bucket/prefix"),
        ("abfss:/b", "abfss://b"),
        ("file:/there/x", "file:///there/x"),
    ],
)
def test_what_is_nearly_an_address_is_none(vidsim, tmp_path, monkeypatch, root, right):
    monkeypatch.chdir(tmp_path)
    said = f"vidsim: --root {root!r} is no address; expected {right}, or a folder\n"
    assert vidsim("models", "--root", root) == (2, "", said)
    assert vidsim("index", tmp_path, "-e", "motion-energy", "--root", root) == (2, "", said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["foo", "gcs", "http", "S3", "memory", ""])
def test_an_unknown_scheme_is_told_with_those_that_are_known(vidsim, tmp_path, scheme):
    root = f"{scheme}://b/p"
    said = (
        f"vidsim: --root {root!r} begins with '{scheme}://', which is not known; expected s3://, gs://, az:// or "
        "abfss://, or a folder\n"
    )
    for verb in (("store", "info"), ("search", "a"), ("models",), ("index", tmp_path, "-e", "motion-energy")):
        assert vidsim(*verb, "--root", root) == (2, "", said)


@pytest.mark.parametrize(
    "root",
    [
        "s3://b/p",
        "gs://b",
        "az://b",
        "abfss://c@a/p",
        "s3+ddb://b/p",
        "s3",
        "a:b",
        "c:\\x",
        "x/y:/z",
    ],
)
def test_addresses_and_folders_are_taken_as_they_are(root):
    assert root_of(root) == root


def test_a_file_address_is_its_folder(vidsim, tmp_path, clips):
    place = tmp_path / "a 100% root"
    root = place.as_uri()
    assert root_of(root) == str(place)
    assert vidsim("index", clips, "-e", "motion-energy", "--limit", 2, "--root", root)[0] == 0
    assert {one.name for one in place.iterdir()} >= {"store", "faiss"}
    by_address, by_folder = (vidsim("search", "clip 0.mp4", "--root", one, "--json") for one in (root, place))
    assert by_address == by_folder
    assert by_address[0] == 0


def test_an_empty_root_is_refused_and_an_empty_variable_is_the_default(vidsim, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIDSIM_ROOT", "")
    empty = "vidsim: --root is empty; expected a folder, or s3://bucket/prefix\n"
    assert vidsim("store", "info", "--root", "") == (2, "", empty)
    said = "vidsim: there is no store in 'indexes'; make one: vidsim index FOLDER --root indexes\n"
    status, out, err = vidsim("store", "info")
    assert (status, out, err.replace(f"{tmp_path}/", "")) == (2, "", said)
