"""``vidsim train``: what is refused at the door, and what the answer, the card and the log say of how a run ended."""

import json
from dataclasses import replace

import pytest
from tiny_study import RECIPE, ready, refused, run, study

from vidsim.adapt.batches import Counts
from vidsim.adapt.manifest import read_manifest
from vidsim.cli.training import Lines

__all__ = ["ready", "study"]

COUNTS = Counts(steps=1, rsa_steps=1, forwards=8, trials=1, pairs=1)


def test_settings_that_do_not_fit_name_file_and_key(vidsim, ready):
    for validation, said in ((0.999, "run.validation: a share of 0.999 of 30 stimuli leaves one part empty; expected "
                              "above 0 and at most 0.966667; or set it to 0"),
                             (0.001, "none of 1504 trials lies wholly among the 1 validation stimuli")):  # fmt: skip
        (ready / "quick.toml").write_text(RECIPE + f"[run]\nvalidation = {validation}\n")
        assert refused(vidsim).startswith(f"vidsim: quick.toml: {said}")
    (ready / "quick.toml").write_text(RECIPE.replace("all-MiniLM-L6-v2", "nope"))
    assert refused(vidsim).startswith("vidsim: quick.toml: encoder: no encoder named 'nope'; ")
    (ready / "quick.toml").write_text(RECIPE.replace("rank = 2", 'rank = 2\ntargets = ["nothing"]'))
    assert refused(vidsim).startswith("vidsim: quick.toml: all-MiniLM-L6-v2 has no such linear layers: ")
    (ready / "quick.toml").write_text(RECIPE)
    assert refused(vidsim, "--source", "nope") == (
        "vidsim: --source 'nope' has no effect with all-MiniLM-L6-v2, which reads captions and sees no videos; leave "
        "it out\n"
    )
    assert refused(vidsim, name="n" * 129) == "vidsim: --name has 129 characters; expected at most 128\n"


def test_a_root_that_cannot_be_written_is_refused_before_anything_is_trained(vidsim, ready, monkeypatch):
    (ready / "indexes" / "adapters").write_text("")
    assert refused(vidsim) == (
        "vidsim: the adapter cannot be written to 'indexes/adapters/mine': Not a directory; mend that and run the same "
        "command again\n"
    )
    (ready / "indexes" / "adapters").unlink()

    def closed(dir):
        raise OSError(30, "Read-only file system", str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", closed)
    assert refused(vidsim) == (
        "vidsim: the adapter cannot be written to 'indexes/adapters/mine': Read-only file system; make it writable and "
        "run the same command again\n"
    )
    assert not (ready / "indexes" / "adapters").exists()


def test_a_fit_without_epochs_says_nothing_of_them_and_an_adapter_is_no_encoder_to_train(vidsim, ready):
    (ready / "all.toml").write_text(RECIPE + "[run]\nvalidation = 0\n")
    status, out, err = run(vidsim, "--method", "linear", recipe="all.toml")
    assert (status, err) == (0, "mine: seed 0, a fitted transform, without training\n")
    assert "epoch" not in out
    folder = ready / "indexes" / "adapters" / "mine"
    assert not (folder / "curve.png").exists()
    card = (folder / "README.md").read_text()
    assert "curve.png" not in card
    assert "It was fitted, without training.\n" in card
    made = read_manifest(folder)
    assert "epoch" not in made.data
    assert [row["epoch"] for row in made.curve] == [0]
    (ready / "quick.toml").write_text(RECIPE.replace("all-MiniLM-L6-v2", "mine"))
    assert refused(vidsim, name="more") == (
        "vidsim: quick.toml: encoder 'mine' is an adapter, which cannot be trained further; name its base, "
        "'all-MiniLM-L6-v2'\n"
    )


def test_a_folder_with_the_name_of_the_base_is_told_as_everywhere(vidsim, ready):
    assert run(vidsim, "--method", "linear")[0] == 0
    folder = ready / "indexes" / "adapters" / "mine"
    folder.rename(folder.with_name("all-MiniLM-L6-v2"))
    said = refused(vidsim, name="more")
    assert said.endswith("all-MiniLM-L6-v2' has the name of an encoder; give its folder another\n")
    assert said == vidsim("models", "all-MiniLM-L6-v2")[2]


def test_a_run_that_stopped_says_so_when_the_same_command_measures_it(vidsim, ready):
    assert run(vidsim)[0] == 0
    folder = ready / "indexes" / "adapters" / "mine"
    manifest = read_manifest(folder)
    assert manifest.data["stopped"] is None
    replace(manifest, data={**manifest.data, "stopped": "weights are not finite behind epoch 3"}).write(folder)
    (folder / "README.md").unlink()
    status, out, err = run(vidsim)
    assert (status, err) == (0, "")
    said = "stopped before the end of 2 epochs: weights are not finite behind epoch 3"
    assert f"of 2 kept; {said}\n" in out
    assert f"It {said}. " in (folder / "README.md").read_text()
    (folder / "README.md").unlink()
    assert json.loads(run(vidsim, "--json")[1])["runs"][0]["stopped"] == said
    # a manifest written before notes nothing
    replace(manifest, data={key: value for key, value in manifest.data.items() if key != "stopped"}).write(folder)
    (folder / "README.md").unlink()
    assert "stopped" not in run(vidsim)[1]


def test_patience_that_ends_a_run_is_said_and_what_was_not_compared_is_a_dash(capsys):
    lines = Lines(counts=COUNTS, losses=("triplet", "rsa"), patience=2)
    lines.begin("mine", 0, epochs=9, steps=1, done=0)
    for epoch, best in ((1, 1), (2, 1), (3, 1)):
        lines.epoch({"epoch": epoch, "losses": {"triplet": 0.5}, "seconds": 2.0}, best)
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "mine: seed 0, 9 epochs of 1 step, 8 forward passes each (the first: 1 trial and 1 judged pair)"
    assert told[1].startswith("epoch 1/9: triplet 0.5000, rsa -, 4 stimuli/s, 2.0 s, ")
    assert not told[2].endswith("done")
    assert told[3:] == [
        "epoch 3/9: triplet 0.5000, rsa -, 4 stimuli/s, 2.0 s, done",
        "epoch 1 stays the best: optimiser.patience = 2 ends the run",
    ]


def test_a_run_that_has_no_epoch_left_says_so(capsys):
    Lines(counts=COUNTS).begin("mine", 0, epochs=3, steps=1, done=3)
    assert capsys.readouterr().err == "mine: seed 0, 3 epochs done before\n"


@pytest.mark.parametrize(("epochs", "said"), [(1, "1 epoch of 1 step, 8 forward passes, 1 trial and 1 judged pair"),
                                              (0, "a fitted transform, without training")])  # fmt: skip
def test_one_epoch_and_none(epochs, said, capsys):
    Lines(counts=COUNTS).begin("mine", 0, epochs=epochs, steps=1, done=0)
    assert capsys.readouterr().err == f"mine: seed 0, {said}\n"
