"""How a run begins and ends: what cannot teach is refused, why it ended is noted, and its state goes with it."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_trainer import Quiet, material, recipe, trainer

from vidsim.adapt.drafts import Taken
from vidsim.adapt.evaluation import drawable
from vidsim.adapt.feasible import feasible
from vidsim.adapt.manifest import read_manifest
from vidsim.adapt.recipe import Recipe, Unfit
from vidsim.adapt.recipe_file import naming, read_recipe
from vidsim.adapt.state import State, is_of, read_state
from vidsim.cli.seeds import drop_finished
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets

PLAIN = {"precision": "float32", "validation": 0}


@pytest.fixture
def made(publish):
    return publish("timesformer-base")


def unvalidated(made, fit=None, **sections):
    stuff = material(made.card)
    return trainer(made, recipe(run=PLAIN, **sections), stuff=replace(stuff, fit=fit or stuff.fit, validation=None))


def far(made):
    """Judge trials of which three stimuli hold one at most, and mostly none."""
    return Triplets(material(made.card).fit.ids, np.array([[k, (k + 1) % 8, (k + 4) % 8] for k in range(8)]))


@pytest.mark.parametrize("kind", ["soft", "triplet", "rsa"])
def test_a_run_that_meets_no_judgment_is_refused(kind, made):
    fit = far(made)
    if kind == "rsa":  # no two pairs differ
        fit = Triplets(fit.ids[:4], np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]]))
    batches = {"sampler": "stimuli", "stimuli": 3, "steps": 2}
    with pytest.raises(Unfit) as caught:
        unvalidated(made, fit, loss={"kind": kind}, batches=batches, optimiser={"epochs": 1})
    assert caught.value.key == "batches.stimuli"
    lacking = "judged pairs that differ" if kind == "rsa" else "a trial"
    said = f"batches.stimuli = 3: no step meets {lacking}, so there is nothing to learn from (stimuli: "
    assert str(caught.value).startswith(said)


def test_steps_without_trials_have_no_loss_over_them(made, tmp_path):
    sections = {"batches": {"sampler": "stimuli", "stimuli": 4, "steps": 12}, "optimiser": {"epochs": 1}}
    run, watcher = unvalidated(made, far(made), **sections), Quiet()
    empty = [not len(step.trials) for step in run.batches.epoch(0)]
    assert any(empty)
    row = run.run(tmp_path / "mine", tmp_path / "state", "mine", watcher).curve[1]
    assert ["soft" not in losses for losses in watcher.losses] == empty
    assert row["losses"]["soft"] == pytest.approx(np.mean([one["soft"] for one in watcher.losses if one]))


def test_why_a_run_ended_is_noted(made, tmp_path, monkeypatch):
    assert unvalidated(made, optimiser={"epochs": 1}).run(
        tmp_path / "whole", tmp_path / "s", "whole", Quiet()
    ).data["stopped"] is None  # fmt: skip
    patient = trainer(made, recipe(optimiser={"epochs": 9, "patience": 2}))
    values = iter([0.5, 0.4, 0.3])
    monkeypatch.setattr(patient, "_measured", lambda epoch, *_: {
        "epoch": epoch, "losses": {}, "seconds": 0.0, "rho": next(values)})  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        patient.run(tmp_path / "patient", tmp_path / "s", "patient", Quiet(plug=2))
    again = Quiet()
    found = patient.run(tmp_path / "patient", tmp_path / "s", "patient", again)
    assert (again.done, again.epochs, again.rows) == (2, 2, [])
    assert found.data["stopped"] == "optimiser.patience = 2"


def test_the_state_of_a_finished_run_is_told_by_its_curve_and_dropped(made, tmp_path, monkeypatch):
    run, state, folder = unvalidated(made, optimiser={"epochs": 2}), tmp_path / "state", tmp_path / "mine"
    run.run(tmp_path / "other", tmp_path / "gone", "other", Quiet())
    with pytest.raises(KeyboardInterrupt):
        unvalidated(made, optimiser={"epochs": 2}).run(folder, state, "mine", Quiet(plug=1))
    drop_finished(state, tmp_path / "other")
    drop_finished(state, folder)  # there is none yet
    assert state.exists()
    monkeypatch.setattr(type(state), "unlink", lambda *_, **__: None)  # as if it had been killed there
    manifest = unvalidated(made, optimiser={"epochs": 2}).run(folder, state, "mine", Quiet())
    monkeypatch.undo()
    assert is_of(state, manifest.curve)
    assert not is_of(state, manifest.curve[:-1])
    drop_finished(state, folder)
    assert not state.exists()
    assert not is_of(state, manifest.curve)
    state.write_bytes(b"rubbish")
    drop_finished(state, folder)
    assert state.exists()


def test_an_adapter_that_appears_meanwhile_stays_and_so_does_the_state(made, tmp_path):
    state, folder = tmp_path / "state", tmp_path / "mine"

    class Beside(Quiet):
        def epoch(self, row, best):
            super().epoch(row, best)
            if row["epoch"] == 2:  # another run ends
                folder.mkdir()
                (folder / "vidsim.json").write_text("another's")
                state.unlink()

    with pytest.raises(Taken, match=r"^another run has left '.*mine' meanwhile"):
        unvalidated(made, optimiser={"epochs": 2}).run(folder, state, "mine", Beside())
    assert [path.read_text() for path in folder.iterdir()] == ["another's"]
    again = Quiet()
    manifest = unvalidated(made, optimiser={"epochs": 2}).run(folder, state, "mine", again, force=True)
    assert (again.done, again.rows) == (2, [])
    assert not state.exists()
    assert read_manifest(folder) == manifest


def test_memory_that_lacks_while_the_adapter_is_made_is_told(made, monkeypatch):
    def full(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr("vidsim.adapt.equip.attach", full)
    with pytest.raises(VidsimError, match=r"^out of memory on cpu; .* adapter\.rank or adapter\.head$"):
        unvalidated(made)


def test_a_lack_of_memory_that_python_finds_is_told():
    with pytest.raises(VidsimError, match=r"^out of memory on cpu"), feasible(torch.device("cpu")):
        raise MemoryError


def test_targets_that_are_none_are_a_matter_of_their_key(made):
    with pytest.raises(Unfit, match="nothing") as caught:
        unvalidated(made, adapter={"rank": 2, "targets": ["nothing"]})
    assert caught.value.key == "adapter.targets"


@pytest.mark.parametrize("targets", [("query", "nope"), ("nope",)])
def test_a_target_that_is_no_layer_is_refused_where_it_is_named(made, targets):
    with pytest.raises(Unfit, match=r"^timesformer-base has no such linear layers: '") as caught:
        unvalidated(made, adapter={"rank": 2, "targets": ["qkv", *targets]})
    assert caught.value.key == "adapter.targets"
    own = replace(made, card=replace(made.card, lora_targets=("qkv", "nope")))
    with pytest.raises(VidsimError, match=r"has no such linear layers: 'nope'; mend lora_targets of its card$"):
        unvalidated(own)


@pytest.mark.parametrize(
    ("target", "path", "kind"),
    [
        ("encoder.layer.0.attention", "encoder.layer.0.attention", "TimeSformerAttention"),
        ("dropout", "encoder.layer.0.attention.output.dropout", "Dropout"),
    ],
)
def test_a_target_that_is_no_linear_layer_is_named_whole(target, path, kind, made):
    said = rf"^timesformer-base has no such linear layers: '{target}' \({path} is a {kind}\); mend adapter\.targets$"
    with pytest.raises(Unfit, match=re.compile(said, re.IGNORECASE)):
        unvalidated(made, adapter={"rank": 2, "targets": ["qkv", target]})
    own = replace(made, card=replace(made.card, lora_targets=("qkv", target)))
    with pytest.raises(VidsimError, match=rf"'{target}' \({path} is a {kind}\); mend lora_targets of its card$"):
        unvalidated(own)


def test_a_setting_that_does_not_fit_names_the_file_that_has_it(tmp_path):
    (tmp_path / "root.toml").write_text('encoder = "timesformer-base"\n[run]\nvalidation = 0.3\n')
    leaf = tmp_path / "leaf.toml"
    leaf.write_text('base = "root"\n')
    for key, file in (("run.validation", tmp_path / "root.toml"), ("adapter.targets", leaf)):
        with pytest.raises(VidsimError) as caught, naming(leaf):
            raise Unfit(key, f"{key} is wrong")
        assert str(caught.value) == f"{file}: {key} is wrong"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[adapter]\nrank = 100000000000",
            "adapter.rank expected a whole number, at least 0 and at most 4096, 1000000",
        ),
        ("[adapter]\nhead = 100000", "adapter.head expected a whole number, at least 0 and at most 65536, or 'linear'"),
        ("[batches]\nsampler = 'stimuli'\nsteps = 100000000000", "at least 0 and at most 1000000, 100000000000 came"),
        ("[optimiser]\nepochs = 0", "optimiser.epochs expected at least 1 without a fitted head (adapter.head = "),
        ("[optimiser]\nepochs = 0\n[adapter]\nhead = 8", "optimiser.epochs expected at least 1 without a fitted head"),
    ],
)
def test_counts_are_bounded_and_no_epochs_need_a_fit(text, said, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('encoder = "timesformer-base"\n' + text)
    with pytest.raises(VidsimError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    Recipe.model_validate({"encoder": "e", "adapter": {"head": "linear"}, "optimiser": {"epochs": 0}})


def test_what_has_neither_losses_nor_scores_cannot_be_drawn():
    bare = {"epoch": 0, "losses": {}, "seconds": 0.0}
    assert not drawable([bare, {**bare, "rho": None}])
    assert drawable([bare, {**bare, "losses": {"soft": 1.0}}])
    assert drawable([{**bare, "rho": 0.1}])


@pytest.mark.parametrize("facts", ["[]", "3", '"a"', "null"])
def test_a_state_whose_facts_are_none_is_told(facts, tmp_path):
    save_file({"weights:a": torch.zeros(2)}, tmp_path / "state", metadata={"vidsim": facts})
    assert not is_of(tmp_path / "state", [])
    with pytest.raises(VidsimError, match=r"cannot be read: its facts are a \w+; start over: --restart"):
        read_state(tmp_path / "state", "run")


def test_two_runs_write_one_state_whole(tmp_path):
    weights = {f"w{i}": torch.full((200, 200), float(i)) for i in range(4)}

    def write(epoch):
        State(epoch=epoch, weights=weights).write(tmp_path / "run.state.safetensors", "run")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(40)))
    assert [path.name for path in tmp_path.iterdir()] == ["run.state.safetensors"]
    found = read_state(tmp_path / "run.state.safetensors", "run")
    assert all(torch.equal(found.weights[name], value) for name, value in weights.items())
