"""Where a training runs: on which device, and shared among how many processes."""

from unittest.mock import Mock

import pytest
import torch
from accelerate import Accelerator
from tiny_trainer import recipe, trainer

from vidsim.adapt.precision import precision
from vidsim.encoders import catalog
from vidsim.errors import VidsimError


@pytest.fixture
def named(publish, monkeypatch):
    """Publish a small TimeSformer under the catalog's name, so that adapters find their base."""
    made = publish("timesformer-base")
    monkeypatch.setitem(catalog.CARDS, "timesformer-base", made.card)
    return made


def test_more_processes_than_steps_are_refused(named, monkeypatch):
    monkeypatch.setattr(Accelerator, "num_processes", 5)
    with pytest.raises(
        VidsimError,
        match=r"fewer steps \(4\) than there are processes \(5\); start fewer, or raise batches\.steps$",
    ):
        trainer(named, recipe())


def test_bfloat16_is_chosen_only_where_the_hardware_has_it(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **given: asked.append(given) or False)
    assert precision(recipe(run={"precision": "auto"}).run, "cuda:1") == "no"
    assert asked == [{"including_emulation": False}]


def test_the_gpu_that_was_named_is_the_one(named, monkeypatch):
    class Chosen(Exception):
        pass

    def choose(device):
        raise Chosen(device)

    monkeypatch.setattr(catalog, "resolve_device", lambda _: "cuda:1")
    monkeypatch.setattr(torch.cuda, "set_device", choose)
    with pytest.raises(Chosen, match="cuda:1"):
        trainer(named, recipe())


def test_an_encoder_is_loaded_where_accelerate_trains(named, monkeypatch):
    class Loaded(Exception):
        pass

    def load(_, *, device):
        raise Loaded(device)

    one = Mock(spec=Accelerator, device=torch.device("cuda"), num_processes=1)  # as accelerate says of one alone
    monkeypatch.setattr(catalog, "resolve_device", lambda _: "cuda:1")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr("vidsim.adapt.trainer.join", lambda *_: one)
    monkeypatch.setattr(catalog, "load", load)
    with pytest.raises(Loaded, match="cuda:1"):
        trainer(named, recipe())
    one.device = torch.device("cuda:3")
    with pytest.raises(Loaded, match="cuda:3"):
        trainer(named, recipe())
    one.device = torch.device("cpu:0")
    with pytest.raises(Loaded, match=r"^cpu$"):
        trainer(named, recipe())


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_what_processes_share_keeps_the_rsa_steps(named, monkeypatch, processes):
    batches = {"sampler": "trials", "trials": 2, "rsa_steps": 1, "rsa_stimuli": 6, "rsa_gradients": 2}
    run = trainer(named, recipe(loss={"kind": "hybrid"}, batches=batches))
    monkeypatch.setattr(type(run.accelerator), "num_processes", processes)
    steps = list(run._shared(0))
    assert (len(steps), len(run.batches)) == (30 // processes * processes, 30)
    assert [bool(len(step.pairs)) for step in steps] == [False] * (len(steps) - 1) + [True]


def test_of_several_processes_each_keeps_its_own_gpu(named, monkeypatch):
    class Made(Exception):
        pass

    def made(**_):
        raise Made

    chosen = []
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(catalog, "resolve_device", lambda _: "cuda:0")  # what auto means, in every process
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr("vidsim.adapt.processes.Accelerator", made)
    with pytest.raises(Made):
        trainer(named, recipe())
    assert chosen == []


def test_processes_that_cannot_be_joined_are_told(named, monkeypatch):
    def alone(**_):
        raise ValueError("environment variable MASTER_ADDR expected,\nbut not set")

    monkeypatch.setattr("vidsim.adapt.processes.Accelerator", alone)
    with pytest.raises(ValueError, match="MASTER_ADDR"):
        trainer(named, recipe())
    monkeypatch.setenv("LOCAL_RANK", "3")
    told = (
        "^LOCAL_RANK names one .* cannot be joined: environment variable MASTER_ADDR expected, but not set; start them"
    )
    with pytest.raises(VidsimError, match=told):
        trainer(named, recipe())
