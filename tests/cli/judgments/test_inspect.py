import json

import pytest

from judges import release, write_csv


def test_social_ooo(vidsim, shared):
    status, out, err = vidsim("judgments", "inspect", shared / "data" / "social-ooo", "--json")
    assert (status, err, out.count("\n")) == (0, "", 1)
    facts = json.loads(out)
    expected = {
        "rows": 25_623,
        "trials": 24_096,
        "catch_trials": 1_527,
        "participants": 215,
        "pairs_observed": 19_266,
        "pairs_total": 19_900,
    }
    assert {name: facts[name] for name in expected} == expected
    assert facts["catch_accuracy"] == pytest.approx(0.999, abs=5e-4)
    assert facts["judgments_per_pair"] == pytest.approx(3.752, abs=5e-4)
    assert {d["kind"]: d["count"] for d in facts["defects"]} == {"identical": 1, "repeated": 69}
    assert facts["response_times"]["maximum"] == pytest.approx(59_600, abs=1)


def test_a_file_and_what_was_imported_from_it_read_alike(vidsim, tmp_path):
    release(tmp_path / "release")
    root = ("--root", tmp_path / "root")
    _, before, _ = vidsim("judgments", "inspect", tmp_path / "release", "--json", *root)
    vidsim("judgments", "import", tmp_path / "release", "--name", "s", *root)
    status, after, err = vidsim("judgments", "inspect", "s", "--json", *root)
    assert (status, err) == (0, "")
    assert json.loads(before) == json.loads(after)


def test_the_text_and_the_page_say_the_same(vidsim, tmp_path):
    header = ["participant", "stim1", "stim2", "stim3", "choice", "response_time"]
    rows = [
        ["<b>ann</b>", "a", "a", "b", "a", 1.0],
        ["<b>ann</b>", "a", "b", "c", "c", 2.0],
        ["bob", "a", "b", "c", "b", 100.0],
        ["bob", "a", "b", "c", "x", 1.0],
    ]
    path = write_csv(tmp_path / "t.csv", header, rows)
    status, out, err = vidsim("judgments", "inspect", path, "--html", tmp_path / "page.html")
    assert (status, err) == (0, "")
    for text in ("choice-not-shown", "<b>ann</b>", "page.html", "3 of 3", "0.0 %"):
        assert text in out
    page = (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;ann&lt;/b&gt;" in page
    assert "<b>ann" not in page
    assert page.count("<figure>") == 4
    assert "choice-not-shown" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    # what is there is not replaced unasked
    status, _, err = vidsim("judgments", "inspect", path, "--html", tmp_path / "page.html")
    assert (status, "--force" in err) == (2, True)
    assert (tmp_path / "page.html").read_text() == page


def test_judgments_without_people_or_times(vidsim, tmp_path):
    path = write_csv(tmp_path / "t.csv", ["a", "b", "odd"], [["x", "y", "z"]])
    status, out, err = vidsim("judgments", "inspect", path, "--html", tmp_path / "page.html")
    assert (status, err) == (0, "")
    assert "not named" in out
    assert (tmp_path / "page.html").read_text().count("<figure>") == 1
    _, out, _ = vidsim("judgments", "inspect", path, "--json")
    assert json.loads(out)["catch_accuracy"] is None


def test_rules_show_what_they_would_remove(vidsim, tmp_path):
    header = ["participant", "stim1", "stim2", "stim3", "choice", "response_time"]
    rows = [["p", "a", "b", "c", "c", time] for time in (0.1, 1.0, 99.0)]
    path = write_csv(tmp_path / "t.csv", header, rows)
    status, out, err = vidsim("judgments", "inspect", path, "--rt-range", "0.3,60")
    assert (status, err) == (0, "")
    assert "excluded by rt_range [0.3, 60.0]: 2 trials" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "no file or folder 'nowhere', and there is no store"),
        (("t.csv", "--html", "page.txt"), "--html 'page.txt': expected a name that ends in .html"),
        (("t.csv", "--html", "no/page.html"), "no folder 'no'; make it first"),
        (("t.csv", "--min-catch-accuracy", "0.5"), "needs participants"),
        (("m.csv",), "holds similarities, not trials"),
        (("m.csv", "--format", "rsm"), "'rsm' is not one of 'released', 'table', 'things', 'cblearn', 'meadows', "),
        (("t.csv", "--format", "released"), "expected the layout of the Social-OOO release"),
    ],
)
def test_mistakes_are_one_line(vidsim, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "t.csv", ["a", "b", "odd"], [["x", "y", "z"]])
    write_csv(tmp_path / "m.csv", ["x", "y"], [[1, 0.5], [0.5, 1]])
    status, out, err = vidsim("judgments", "inspect", *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_unknown_names_are_answered_with_those_there_are(vidsim, tmp_path):
    root = ("--root", tmp_path / "root")
    vidsim("judgments", "import", release(tmp_path / "release"), "--name", "social", *root)
    status, _, err = vidsim("judgments", "inspect", "socal", *root)
    assert (status, "did you mean 'social'" in err) == (2, True)
