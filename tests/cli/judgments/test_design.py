import json
from collections import Counter
from itertools import combinations

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from vidsim.data.design import pairs


def test_250_stimuli(vidsim):
    status, out, _ = vidsim("judgments", "design", "--stimuli", 250, "--json")
    facts = json.loads(out)
    assert status == 0
    assert len(out.splitlines()) == 1
    assert facts["triplets"] == facts["minimum"] == facts["trials"] == 10_417
    assert facts["pairs_covered"] == 31_125
    assert (facts["stimuli"], facts["method"], facts["out"], facts["seed"]) == (250, "optimal", None, 0)
    assert (facts["sets"], facts["participants"], facts["catch_trials"]) == (521, 48, 0)


def test_the_papers_method_costs_what_the_paper_says(vidsim):
    arguments = ("--stimuli", 250, "--method", "greedy", "--multiple", 220, "--json")
    facts = json.loads(vidsim("judgments", "design", *arguments)[1])
    assert facts["triplets"] + facts["added"] == facts["trials"] == 10_780
    assert facts["triplets"] > facts["minimum"] == 10_417
    assert (facts["sets"], facts["participants"]) == (539, 49)


def test_people_get_a_table_of_costs(vidsim):
    status, out, err = vidsim("judgments", "design", "--stimuli", 250, "--catch", 1, "--repeats", 5)
    rows = [line.split() for line in out.splitlines()]
    assert status == 0
    assert not err
    assert ["optimal", "10,417", "10,417", "0", "1", "10,417", "521", "521", "48"] in rows
    assert ["optimal", "10,417", "10,417", "0", "3", "31,251", "1,563", "1,563", "143"] in rows
    assert ["optimal", "10,417", "10,417", "0", "5", "52,085", "2,605", "2,605", "237"] in rows
    assert "250 stimuli, all 31,125 pairs covered" in out


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_plan_names_the_stimuli_of_a_file(vidsim, tmp_path, suffix):
    ids = ["007", 'q"uote', "semi;colon,comma", "ünï", *(f"{i}.mp4" for i in range(8))]
    (tmp_path / "ids.txt").write_text("\n".join(ids), encoding="utf-8")
    out = tmp_path / f"plan{suffix}"
    arguments = ("--stimuli", tmp_path / "ids.txt", "--repeats", 2, "--catch", 1, "--set-size", 5, "--seed", 3)
    status, text, _ = vidsim("judgments", "design", *arguments, "--out", out, "--json")
    facts = json.loads(text)
    assert status == 0
    assert facts["out"] == str(out)
    assert facts["triplets"] == 24
    strings = csv.ConvertOptions(column_types={f"stim{i}": pa.string() for i in (1, 2, 3)})
    table = parquet.read_table(out) if suffix == ".parquet" else csv.read_csv(out, convert_options=strings)
    assert table.schema.field("catch").type == pa.bool_()
    real = [t for t in table.to_pylist() if not t["catch"]]
    assert len(real) == facts["trials"] == 48
    assert table.num_rows == 48 + facts["catch_trials"] == 48 + facts["sets"]
    together = Counter(frozenset(p) for t in real for p in combinations((t["stim1"], t["stim2"], t["stim3"]), 2))
    assert set(together) == {frozenset(p) for p in combinations(ids, 2)}
    assert [p.name for p in tmp_path.iterdir() if p.name not in {"ids.txt", out.name}] == []


def test_the_same_seed_writes_the_same_plan(vidsim, tmp_path):
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        out = tmp_path / f"{name}.csv"
        assert vidsim("judgments", "design", "--stimuli", 20, "--seed", seed, "--out", out)[0] == 0
        contents.append(out.read_bytes())
    assert contents[0] == contents[1] != contents[2]
    assert contents[0].splitlines()[0].replace(b'"', b"") == b"set,participant,trial,stim1,stim2,stim3,catch"


def test_a_file_is_replaced_only_when_asked(vidsim, tmp_path):
    out = tmp_path / "plan.csv"
    out.write_text("mine")
    status, _, err = vidsim("judgments", "design", "--stimuli", 9, "--out", out)
    assert status == 2
    assert "exists already; --force replaces it" in err
    assert out.read_text() == "mine"
    assert vidsim("judgments", "design", "--stimuli", 9, "--out", out, "--force")[0] == 0
    assert out.read_text().count("\n") == 13


def test_a_design_with_a_hole_is_never_written(vidsim, tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "SIX", pairs.SIX[:-1])
    status, _, err = vidsim("judgments", "design", "--stimuli", 12, "--out", tmp_path / "plan.csv")
    assert status == 2
    assert "of 66 pairs, expected all" in err
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing(vidsim, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(csv, "write_csv", full)
    status, _, err = vidsim("judgments", "design", "--stimuli", 9, "--out", tmp_path / "plan.csv")
    assert status == 2
    assert "cannot be written: No space left on device; nothing was changed" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stimuli", 2), "a design of 2 stimuli; expected at least 3"),
        (("--stimuli=-7",), "'-7' is no whole number, and no such file exists"),
        (("--stimuli", "gone.txt"), "'gone.txt' is no whole number, and no such file exists"),
        (("--stimuli", 1_000_000), "expected at most 20,000"),
        (("--stimuli", 20_000, "--method", "greedy"), "the optimal method covers up to 20,000"),
        (("--stimuli", "empty.txt"), "'empty.txt': 0 ids; expected at least 3"),
        (("--stimuli", "twice.txt"), "'twice.txt' line 3: id 'a' stands in line 1 already"),
        (("--stimuli", 5, "--catch", 6), "6 catch trials per set need as many stimuli"),
        (("--stimuli", 5, "--set-size", 0), "--set-size"),
        (("--stimuli", 5, "--sets-per-participant", 0), "--sets-per-participant"),
        (("--stimuli", 5, "--repeats", 0), "--repeats"),
        (("--stimuli", 5, "--seed", -1), "--seed"),
        (("--stimuli", 5, "--method", "best"), "--method"),
        (("--stimuli", 5, "--multiple", 11), "cannot be filled up to a multiple of 11"),
        (("--stimuli", 5, "--repeats", 10**8, "--out", "plan.csv"), "the plan would have 400,000,000 trials"),
        (("--stimuli", 5, "--out", "plan.xlsx"), "expected a name that ends in .csv or .parquet"),
        (("--stimuli", 5, "--out", "nowhere/plan.csv"), "no folder 'nowhere'"),
        (("--stimuli", 5, "--out", "folder.csv"), "'folder.csv' exists already; give another name"),
        (("--stimuli", 5, "--out", "x" * 300 + ".csv"), "File name too long"),
        ((), "--stimuli"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(vidsim, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    (tmp_path / "twice.txt").write_text("a\nb\na\n")
    (tmp_path / "folder.csv").mkdir()
    before = sorted(tmp_path.rglob("*"))
    status, out, err = vidsim("judgments", "design", *arguments)
    assert status == 2
    assert not out
    assert message in err
    assert len(err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
