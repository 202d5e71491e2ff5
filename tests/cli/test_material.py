import json

import numpy as np
import pytest
from published import publish
from tiny_models import write_qwen
from tiny_study import BASE, RECIPE, make_release, nothing_left, ready, refused, run, study
from tiny_trainer import recipe

from vidsim.adapt.manifest import read_manifest
from vidsim.cli.material import find_material, shown_in
from vidsim.data.judgments.judgments import Judgments
from vidsim.data.splits import validation_split
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.encoders import catalog
from vidsim.store import Store
from vidsim.triplets import Triplets

from clips import moving_square, write_clip
from judges import write_csv

__all__ = ["nothing_left", "publish", "ready", "study"]


def test_participants_are_chosen_by_a_file(vidsim, ready):
    (ready / "who.txt").write_text("p0\r\n p2 \n\n")
    (ready / "quick.toml").write_text(RECIPE + "[run]\nvalidation = 0.4\n")
    status, out, err = run(vidsim, "--participants", "who.txt", "--epochs", 1, "--json")
    assert status == 0, err
    data = json.loads(out)["data"]
    assert (data["participants"], data["people"]) == ("who.txt", 2)
    judged = Judgments.from_table(Store(ready / "indexes").judgments["social"])
    names, codes = judged.participants
    chosen = judged.select(np.isin(codes, [names.index("p0"), names.index("p2")]))
    fit, _ = validation_split([f"clip {k}.mp4" for k in range(30)], 0.4)
    assert data["trials"] == len(chosen.triplets.restrict(fit))


def test_stimuli_that_no_trial_shows_are_not_fitted():
    trials = Triplets(tuple("abcdef"), np.array([[5, 1, 3], [1, 3, 5], [1, 3, 0]]))
    shown = shown_in(trials)
    assert shown.ids == ("a", "b", "d", "f")
    named = [[shown.ids[place] for place in row] for row in shown.rows.tolist()]
    assert named == [["f", "b", "d"], ["b", "d", "f"], ["b", "d", "a"]]


def test_unlabelled_stimuli_are_kept_near_where_they_were(vidsim, ready):
    (ready / "more.csv").write_text("id,caption\n" + "".join(f"new {k},a stone number {k}\n" for k in range(6)))
    (ready / "kept.toml").write_text('base = "quick"\n[loss]\nretention = 1.0\nretention_stimuli = 4\n')
    status, _, err = run(vidsim, "--unlabelled", "more.csv", "--epochs", 1, recipe="kept.toml")
    assert status == 0, err
    assert ", retention 0.0" in err
    manifest = read_manifest(ready / "indexes" / "adapters" / "mine")
    assert manifest.data["unlabelled_stimuli"] == 6
    assert set(manifest.curve[1]["losses"]) == {"soft", "retention"}
    assert "has no effect without loss.retention" in refused(vidsim, "--unlabelled", "more.csv", name="other")


def test_captions_of_unlabelled_clips_that_cannot_be_used_count_for_nothing(tmp_path, capsys):
    made = write_qwen(tmp_path / "qwen")
    resolved = catalog.resolve(made.card, checkpoint=str(made.folder))
    judged = tuple(f"clip {k}" for k in range(5))
    read = Judgments.of(Triplets(judged, np.array([[0, 1, 2], [2, 3, 4], [1, 3, 0]])))
    videos = {
        name: write_clip(tmp_path / f"{name}.mp4", moving_square(frames=9, start=k))
        for k, name in enumerate((*judged, "new 0", "new 1"))
    }
    (tmp_path / "new 2.mp4").write_bytes(b"no video")
    stimuli = StimulusSet(tuple(Stimulus(name, videos[name], (f"caption of {name}",)) for name in judged))
    told = recipe(made.card.name, loss={"kind": "soft", "retention": 1.0}, run={"validation": 0})

    def material(second, broken):
        captions = ("first", second, broken)
        rows = "".join(f"new {k},{tmp_path}/new {k}.mp4,{captions[k]}\n" for k in range(3))
        (tmp_path / "more.csv").write_text(f"id,path,caption\n{rows}")
        more = str(tmp_path / "more.csv")
        return find_material(told, resolved, read, stimuli, None, str(tmp_path / "root"), 1, more)

    found = material("second", "broken")
    assert "'new 2', which nobody judged, is left out" in capsys.readouterr().err
    assert found.unlabelled == ("new 0", "new 1")
    assert set(found.captions) == {*judged, "new 0", "new 1"}
    assert material("second", "mended").digest == found.digest
    assert material("another", "broken").digest != found.digest


def test_an_encoder_that_sees_is_trained_on_a_folder_of_videos(vidsim, study, publish_named):
    (study / "videos").mkdir()
    for k in range(30):
        write_clip(study / "videos" / f"clip {k}.mp4", moving_square(frames=8, step=1 + k % 5, start=k))
    assert vidsim("judgments", "import", "release", "--name", "social")[0] == 0
    (study / "quick.toml").write_text(
        RECIPE.replace(BASE, "clip-vit-b-32").replace("epochs = 2", "epochs = 1") + '[run]\nprecision = "float32"\n'
    )
    status, out, err = run(vidsim, "--source", "videos", "--checkpoint", publish_named)
    assert status == 0, err
    assert "clip-vit-b-32, linear transform" in out
    folder = study / "indexes" / "adapters" / "mine"
    assert vidsim("extract", "videos", "--encoder", "mine", "--device", "cpu")[0] == 0
    store = Store(study / "indexes")
    assert len(store["mine"][read_manifest(folder).layer]) == 30
    plain = (study / "quick.toml").read_text()
    (study / "quick.toml").write_text(plain + 'captions = "first"\n')
    assert refused(vidsim, "--source", "videos", "--checkpoint", publish_named, name="other") == (
        "vidsim: quick.toml: run.captions has no effect with clip-vit-b-32, which reads none; leave it out\n"
    )
    (study / "quick.toml").write_text(plain)
    (study / "other").mkdir()
    write_clip(study / "other" / "other.mp4", moving_square(frames=8))
    assert "none of the 30 stimuli is among the 1 files; ids such as 'clip 0.mp4' and names such as 'other.mp4'" in (
        refused(vidsim, "--source", "other", "--checkpoint", publish_named, name="other")
    )
    (study / "videos" / "clip 3.mp4").unlink()
    assert "1 of 30 stimuli have no video in 'videos', the first is 'clip 3.mp4'" in refused(
        vidsim, "--source", "videos", "--checkpoint", publish_named, name="other"
    )


@pytest.fixture
def publish_named(publish, monkeypatch):
    """Publish a small CLIP under the catalog's name."""
    from vidsim.encoders import catalog

    made = publish("clip-vit-b-32")
    monkeypatch.setitem(catalog.CARDS, "clip-vit-b-32", made.card)
    return made.folder


@pytest.mark.usefixtures("nothing_left")
class TestRefusals:
    """Bad input is one line, exit status 2, and leaves nothing."""

    def test_judgments_without_stimuli(self, vidsim, ready):
        write_csv(
            ready / "trials.csv", ["stim1", "stim2", "stim3", "choice"], [["a", "b", "c", "c"], ["a", "b", "d", "d"]]
        )
        assert vidsim("judgments", "import", "trials.csv", "--name", "bare")[0] == 0
        status, _, err = vidsim("train", "quick.toml", "--judgments", "bare", "--name", "mine")
        assert status == 2
        assert err.startswith("vidsim: the stimuli of 'bare' are not in 'indexes', so there is nothing to encode")

    def test_judgments_that_share_no_stimulus(self, vidsim, ready):
        other = StimulusSet(tuple(Stimulus(f"film {k}", captions=("a",), split="train") for k in range(9)))
        Store(ready / "indexes").stimuli.put("social", other.table())
        assert refused(vidsim).startswith("vidsim: none of 9 stimuli is judged and of split 'train'")

    def test_stimuli_without_captions(self, vidsim, ready):
        make_release(ready / "silent", captions=False)
        assert vidsim("judgments", "import", "silent", "--name", "social", "--force")[0] == 0
        assert refused(vidsim) == "vidsim: 28 of 30 stimuli have no caption, the first is 'clip 2.mp4'\n"

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"p0\nnobody\n", "name 2: nobody is called 'nobody' in the judgments"),
            (b"\n \n", "names nobody; expected a participant a line"),
            (None, "cannot be read"),
            (b"\xff\xfe\x00", "cannot be read"),
        ],
    )
    def test_participants(self, content, told, vidsim, ready):
        if content is not None:
            (ready / "who.txt").write_bytes(content)
        assert told in refused(vidsim, "--participants", "who.txt")

    def test_too_few_judgments_to_validate(self, vidsim, ready):
        (ready / "quick.toml").write_text(RECIPE + "[run]\nvalidation = 0.05\n")
        assert "none of" in (err := refused(vidsim))
        assert "set run.validation to a larger share, or to 0" in err
