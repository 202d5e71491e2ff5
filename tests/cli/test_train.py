import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from tiny_study import BASE, RECIPE, WEIGHTS, nothing_left, ready, refused, run, same, study, weights

from vidsim.adapt.manifest import read_manifest
from vidsim.adapt.scores import METRICS, scores
from vidsim.data.judgments.judgments import Judgments
from vidsim.data.splits import validation_split
from vidsim.store import Store

from judges import write_csv

__all__ = ["nothing_left", "ready", "study"]

COMMAND = [sys.executable, "-c", "from vidsim.cli import main; main()"]


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
    assert vidsim("extract", "--stimuli", "social", "--encoder", BASE, "--device", "cpu")[0] == 0
    advised = re.search("use it as an encoder: vidsim (extract .*)", out)
    assert advised is not None
    assert vidsim(*advised[1].split(), "--device", "cpu")[0] == 0
    status, out, err = vidsim(
        *("align", "--judgments", "social", "--split", "val", "--resamples", 50, "--encoders", BASE, "mine", "--json")
    )
    judged = Judgments.from_table(Store(ready / "indexes").judgments["social"])
    fitted, held = validation_split([f"clip {k}.mp4" for k in range(30)])
    shown = len(np.unique(judged.triplets.restrict(held).rows))
    assert (status, err) == (
        0,
        f"seen in training: mine had its epoch chosen on {shown} of these {shown} stimuli; expect less of others\n",
    )
    models = json.loads(out)["encoders"]
    # no layer is chosen on the stimuli that it was fitted to
    assert {(model["layer"], model["layer_choice"]) for model in models} == {("sentence_embedding", "default")}
    seen = {model["encoder"]: model["seen_in_training"] for model in models}
    assert seen == {BASE: None, "mine": {"fitted": 0, "validated": shown}}
    aligned = vidsim("align", "--judgments", "social", "--resamples", 0, "--encoders", "mine")
    assert "mine was fitted to 24 of these 36 stimuli, and its epoch chosen on 6;" in aligned[2]
    assert vidsim("align", "--judgments", "social", "--split", "test", "--resamples", 0, "--encoders", "mine")[2] == ""
    data = read_manifest(folder).data
    assert (set(data["fitted"]), set(data["validated"])) == (set(fitted), set(held))
    assert "fitted" not in json.loads(vidsim("models", "mine", "--json")[1])["data"]
    # what training has measured is what the store gives
    store = Store(ready / "indexes")
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


def test_an_adapter_is_replaced_only_when_asked(vidsim, ready):
    assert run(vidsim, "--epochs", 1)[0] == 0
    folder = ready / "indexes" / "adapters" / "mine"
    before = weights(folder)
    assert refused(vidsim).endswith("is in 'indexes' already; --force replaces it, or give another --name\n")
    assert same(weights(folder), before)
    assert run(vidsim, "--force", "--seeds", 3)[0] == 0
    assert not same(weights(folder), before)
    assert read_manifest(folder).seed == 3


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


def test_a_linear_transform_alone_is_what_the_recipe_of_that_name_fits(vidsim, ready):
    status, out, err = run(vidsim, "--method", "linear", "--json")
    assert status == 0, err
    status, _, err = run(vidsim, recipe="all-minilm-l6-v2-linear", name="named")
    assert status == 0, err
    one, other = (ready / "indexes" / "adapters" / name for name in ("mine", "named"))
    assert (one / "head.safetensors").read_bytes() == (other / "head.safetensors").read_bytes()
    assert not (one / WEIGHTS).exists()
    answer = json.loads(out)
    assert answer["runs"][0]["scores"] == pytest.approx(answer["baselines"]["linear"]["scores"], abs=1e-5)
    assert "they chose" not in (one / "README.md").read_text()


def test_without_validation_the_last_epoch_is_kept_and_nothing_claimed(vidsim, ready):
    (ready / "all.toml").write_text(RECIPE + "[run]\nvalidation = 0\n")
    status, out, err = run(vidsim, recipe="all.toml")
    assert status == 0, err
    assert "epoch 2 of 2 kept" in out
    assert "rho" not in out
    answer = json.loads(run(vidsim, "--json", "--force", recipe="all.toml")[1])
    assert (answer["baselines"], answer["reliability"], answer["runs"][0]["scores"]) == (None, None, None)


@pytest.mark.usefixtures("nothing_left")
class TestRefusals:
    """Bad input is one line, exit status 2, and leaves nothing."""

    @pytest.mark.parametrize("encoder", ["motion-energy", "x3d-m"])
    def test_encoders_without_targets(self, encoder, vidsim, ready):
        (ready / "quick.toml").write_text(RECIPE.replace(BASE, encoder))
        assert refused(vidsim).startswith(f"vidsim: quick.toml: encoder: {encoder} has no LoRA targets")

    def test_epochs_of_a_linear_transform(self, vidsim, ready):
        assert "--epochs has no effect with --method linear" in refused(vidsim, "--method", "linear", "--epochs", 2)

    def test_a_single_epoch_of_a_ramp_from_nothing(self, vidsim, ready):
        (ready / "ramp.toml").write_text(
            'base = "all-minilm-l6-v2-hybrid"\n[loss]\nalpha = 0\nbeta = [0, 1]\n[optimiser]\nepochs = 2\n'
        )
        told = refused(vidsim, "--epochs", 1, recipe="ramp.toml")
        assert told.startswith("vidsim: ramp.toml: loss.beta = [0.0, 1.0] and loss.alpha = 0 weigh nothing in a single")

    def test_unknown_methods(self, vidsim, ready):
        told = "vidsim: Invalid value for '--method': 'lora' is not one of 'recipe', 'linear'; see: "
        assert refused(vidsim, "--method", "lora").startswith(told)

    def test_unknown_encoders(self, vidsim, ready):
        (ready / "quick.toml").write_text(RECIPE.replace(BASE, "all-MiniLM-L6-v3"))
        assert "did you mean 'all-MiniLM-L6-v2'?" in refused(vidsim)

    @pytest.mark.parametrize(
        ("recipe", "told"),
        [
            ("all-minilm-l6-v2-hybird", "did you mean 'all-minilm-l6-v2-hybrid'?"),
            ("none.toml", "no file 'none.toml'"),
            ("key.toml", "key.toml: optimiser.learning_rat is not known; did you mean 'optimiser.learning_rate'?"),
            ("type.toml", "type.toml: optimiser.epochs expected"),
            ("deep.toml", "deep.toml: cannot be read as TOML: tables or lists are nested too deep"),
            ("few.toml", "few.toml: batches: rsa_stimuli 900 and rsa_gradients 6: expected 3 to "),
            ("variant.toml", "vidsim: variant.toml: batches: rsa_stimuli 900 and "),
        ],
    )
    def test_recipes(self, recipe, told, vidsim, ready):
        (ready / "key.toml").write_text(RECIPE.replace("learning_rate", "learning_rat"))
        (ready / "deep.toml").write_text("encoder = " + "[" * 5000 + "]" * 5000)
        rsa = '[batches]\nsampler = "trials"\nrsa_stimuli = 900\n[loss]\nkind = "hybrid"\n'
        (ready / "few.toml").write_text(f'encoder = "{BASE}"\n{rsa}')
        (ready / "variant.toml").write_text('base = "all-minilm-l6-v2-hybrid-trials"\n[batches]\nrsa_stimuli = 900\n')
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

    @pytest.mark.parametrize("hidden", ["mine", "mine.seed-1"])
    def test_names_of_similarities(self, hidden, vidsim, ready):
        matrix = write_csv(ready / "m.csv", ["x", "y"], [[1, 0.5], [0.5, 1]])
        assert vidsim("judgments", "import", matrix, "--name", hidden)[0] == 0
        told = f"vidsim: '{hidden}' is the name of similarities in 'indexes'; choose another for the adapter\n"
        assert refused(vidsim, "--seeds", "0,1", "--force") == told

    @pytest.mark.parametrize("seeds", ["", "a", "0,,1", "1,1", "1,01", "-1", "0.5", "0 1", "4294967296", "9" * 5000])
    def test_seeds(self, seeds, vidsim, ready):
        assert refused(vidsim, "--seeds", seeds).startswith(f"vidsim: --seeds {seeds!r}: expected different whole")

    def test_seeds_that_are_all_the_same(self, vidsim, ready):
        told = (
            "vidsim: 2 seeds without an epoch: what is fitted is the same by every seed; give one, such as --seeds 0\n"
        )
        assert refused(vidsim, "--method", "linear", "--seeds", "0,1") == told
        assert refused(vidsim, "--seeds", "0,1", recipe="all-minilm-l6-v2-linear") == told

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

    @pytest.mark.parametrize(
        ("option", "value"), [("--epochs", 0), ("--epochs", 1_000_001), ("--device", "cuda:99"), ("--workers", 0)]
    )
    def test_options(self, option, value, vidsim, ready):
        refused(vidsim, option, value)


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
    assert re.search(r"cut: seed 0, 4 epochs of 3 steps, 36 forward passes each .* from epoch [2-4] on", again.stderr)
    assert not state.exists()
    assert same(weights(folders / "cut"), weights(folders / "whole"))
    whole, cut = (read_manifest(folders / name).curve for name in ("whole", "cut"))
    assert [{**row, "seconds": 0} for row in cut] == [{**row, "seconds": 0} for row in whole]


@pytest.mark.slow
def test_two_machines_train_one_adapter_together(vidsim, ready):
    (ready / "quick.toml").write_text(RECIPE)
    subprocess.run(commanded("--name", "alone"), check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = ["--master_addr", "127.0.0.1", "--master_port", str(free.getsockname()[1])]
    machines = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"),
                *("--node_rank", str(rank), *place, "--no_python", *commanded("--name", "together")),
            ],
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    told = [machine.communicate(timeout=240) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], told
    assert json.loads(told[0][0])["name"] == "together"
    assert told[1][0] == ""
    folders = ready / "indexes" / "adapters"
    assert sorted(path.name for path in folders.iterdir()) == ["alone", "together"]
    curves = {name: read_manifest(folders / name).curve for name in ("alone", "together")}
    assert [row["epoch"] for row in curves["together"]] == [0, 1, 2]
    # both begin alike, and a loss is the mean of two steps in place of three
    assert curves["together"][0]["rho"] == curves["alone"][0]["rho"]
    assert curves["together"][1]["losses"] != curves["alone"][1]["losses"]


def test_restart_drops_what_an_interrupted_run_has_left(vidsim, ready):
    state = ready / "indexes" / "adapters" / ".mine.state.safetensors"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"rubbish")
    assert refused(vidsim).endswith("start over: --restart\n")
    status, _, err = run(vidsim, "--restart", "--epochs", 1)
    assert status == 0, err
    assert not state.exists()
