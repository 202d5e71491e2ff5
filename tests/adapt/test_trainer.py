import errno
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tiny_trainer import Quiet, material, recipe, trainer, trials, unlabelled

from vidsim.adapt import adapter
from vidsim.adapt.batches.sampler import make_batches
from vidsim.adapt.card import resolve_adapter
from vidsim.adapt.head import Head
from vidsim.adapt.manifest import read_manifest
from vidsim.adapt.material import Material
from vidsim.adapt.penalty import fit_any
from vidsim.adapt.recipe import Unfit
from vidsim.adapt.schedule import learning_rate
from vidsim.embeddings import Embeddings
from vidsim.encoders import catalog
from vidsim.errors import VidsimError


@pytest.mark.parametrize(
    "name",
    [
        "timesformer-base",
        "videomae-base-finetuned-kinetics",
        "vivit-b-16x2-kinetics400",
        "clip-vit-b-32",
        "dino-vitb16",
    ],
)
def test_towers_on_frames_learn_the_groups_of_their_training_clips(name, publish, tmp_path):
    made, watcher = publish(name), Quiet()
    told = recipe(name, optimiser={"learning_rate": 0.02, "epochs": 12})
    run = trainer(made, told)
    before = run.embed(run.material.fit.ids).matrix
    manifest = run.run(tmp_path / "adapters" / "mine", tmp_path / "state.safetensors", "mine", watcher)
    assert np.mean([row["soft"] for row in watcher.losses[-4:]]) < 0.8 * np.mean(
        [row["soft"] for row in watcher.losses[:4]]
    )
    assert [row["epoch"] for row in manifest.curve] == list(range(13))
    assert not (tmp_path / "state.safetensors").exists()
    after = run.embed(run.material.fit.ids).matrix
    best = max(manifest.curve, key=lambda row: (row["rho"], -row["epoch"]))["epoch"]
    assert (best == 0) == np.array_equal(before, after)


def adapted(made, folder):
    return catalog.load(resolve_adapter(folder, checkpoint=str(made.folder)), device="cpu")


@pytest.fixture
def named(publish, monkeypatch):
    """Publish a small TimeSformer under the catalog's name, so that adapters find their base."""
    made = publish("timesformer-base")
    monkeypatch.setitem(catalog.CARDS, "timesformer-base", made.card)
    return made


@pytest.mark.parametrize("head", [0, 5])
def test_an_adapter_gives_what_the_trainer_saw_last(head, named, tmp_path):
    told = recipe(adapter={"rank": 2, "head": head}, run={"precision": "float32", "validation": 0})
    stuff = material(named.card)
    run = trainer(named, told, stuff=Material(stuff.fit, None, frames=stuff.frames))
    folder = tmp_path / "adapters" / "mine"
    manifest = run.run(folder, tmp_path / "state", "mine", Quiet())
    assert read_manifest(folder) == manifest
    expected = run.embed(stuff.fit.ids).matrix
    encoder = adapted(named, folder)
    layer = encoder.card.default_layer
    assert layer == ("head" if head else "layernorm")
    batch = torch.stack([stuff.frames(name) for name in stuff.fit.ids])
    for row, expect in zip(batch, expected, strict=True):
        found = encoder.encode(row[None], [layer], lambda _, x: x)[layer][0]
        np.testing.assert_array_equal(found, expect)
    assert {path.name for path in folder.iterdir()} == {
        *("vidsim.json", "adapter_config.json", "adapter_model.safetensors", "golden.safetensors"),
        *(["head.safetensors"] if head else []),
    }
    assert manifest.parameters == sum(
        value.numel() for path in folder.glob("*.safetensors") if "golden" not in path.name
        for value in load_file(path).values()
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["hybrid", "soft"])
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(kind, named, tmp_path):
    sections = {"optimiser": {"learning_rate": 0.01, "epochs": 4, "warmup": 0.2, "schedule": "cosine"}}
    sections["adapter"] = {"rank": 2, "dropout": 0.1, "head": 4}
    if kind == "hybrid":
        sections |= {
            "loss": {"kind": "hybrid", "retention": 0.1, "retention_kind": "similarities"},
            "batches": {"sampler": "trials", "rsa_steps": 2, "rsa_stimuli": 6, "rsa_gradients": 2},
        }
    told = recipe(**sections)
    stuff = material(named.card)
    if kind == "hybrid":
        stuff = unlabelled(stuff, named.card)
    whole = trainer(named, told, 0, stuff).run(tmp_path / "whole", tmp_path / "a", "whole", Quiet())
    with pytest.raises(KeyboardInterrupt):
        trainer(named, told, 0, stuff).run(tmp_path / "cut", tmp_path / "b", "cut", Quiet(plug=2))
    assert not (tmp_path / "cut").exists()
    rest = Quiet()
    again = trainer(named, told, 0, stuff).run(tmp_path / "cut", tmp_path / "b", "cut", rest)
    assert rest.done == 2
    assert [row["epoch"] for row in rest.rows] == [3, 4]
    for one, two in zip(whole.curve, again.curve, strict=True):
        assert {**one, "seconds": 0} == {**two, "seconds": 0}
    for name in ("adapter_model.safetensors", "head.safetensors"):
        expected, found = (load_file(tmp_path / folder / name) for folder in ("whole", "cut"))
        assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_retention_holds_unlabelled_stimuli_where_the_frozen_model_had_them(named, tmp_path):
    stuff = unlabelled(material(named.card), named.card)
    moved, losses = {}, {}
    for weight in (0.0, 5.0):
        kept = {"retention": weight, "retention_stimuli": 5} if weight else {}
        told = recipe(
            loss={"kind": "soft", "temperature": 0.1, **kept},
            optimiser={"learning_rate": 0.02, "epochs": 3},
            run={"precision": "float32", "validation": 0},
        )
        run, watcher = trainer(named, told, 0, replace(stuff, validation=None)), Quiet()
        before = run.embed(stuff.unlabelled).matrix
        run.run(tmp_path / str(weight), tmp_path / "state", "mine", watcher)
        after = run.embed(stuff.unlabelled).matrix
        unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (before, after)]
        moved[weight], losses[weight] = float(1 - (unit[0] * unit[1]).sum(axis=1).mean()), watcher.losses
    assert moved[5.0] < moved[0.0] / 2
    assert set(losses[0.0][0]) == {"soft"}
    # all five are drawn in every step, so that the first loss says how far they are before anything was learnt
    assert losses[5.0][0]["retention"] == pytest.approx(0, abs=1e-5)
    assert losses[5.0][-1]["retention"] > 1e-5


def test_seeds_give_other_weights_and_a_seed_the_same(named, tmp_path):
    told = recipe(optimiser={"learning_rate": 0.01, "epochs": 1}, run={"precision": "float32", "validation": 0})
    weights = []
    for number, seed in enumerate((0, 0, 1)):
        trainer(named, told, seed).run(tmp_path / str(number), tmp_path / "state", "mine", Quiet())
        weights.append(load_file(tmp_path / str(number) / "adapter_model.safetensors"))
    first, same, other = weights
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_the_state_of_another_run_is_refused(named, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trainer(named, recipe()).run(tmp_path / "mine", tmp_path / "state", "mine", Quiet(plug=1))
    with pytest.raises(VidsimError, match="is of a run with other settings"):
        trainer(named, recipe(), seed=1).run(tmp_path / "mine", tmp_path / "state", "mine", Quiet())
    other = trainer(named, recipe(), stuff=material(named.card, count=61))
    with pytest.raises(VidsimError, match="is of a run with other settings"):
        other.run(tmp_path / "mine", tmp_path / "state", "mine", Quiet())
    (tmp_path / "state").write_bytes(b"\x00" * 40)
    with pytest.raises(VidsimError, match=r"cannot be read: .* start over: --restart"):
        trainer(named, recipe()).run(tmp_path / "mine", tmp_path / "state", "mine", Quiet())


def unvalidated(made, **sections):
    stuff = material(made.card)
    told = recipe(run={"precision": "float32", "validation": 0}, **sections)
    return trainer(made, told, stuff=Material(stuff.fit, None, frames=stuff.frames))


@pytest.mark.parametrize("broken_at", [2, 6])
def test_a_loss_that_is_no_number_stops_and_leaves_what_was_best(broken_at, named, tmp_path, monkeypatch):
    run, watcher = unvalidated(named), Quiet()
    plain, calls = run._objective, []

    def broken(embeddings, step, epoch, base):
        calls.append(step)
        loss, parts = plain(embeddings, step, epoch, base)
        return (loss * float("nan") if len(calls) == broken_at else loss), parts

    monkeypatch.setattr(run, "_objective", broken)
    with pytest.raises(VidsimError) as caught:
        run.run(tmp_path / "mine", tmp_path / "state", "mine", watcher)
    said = str(caught.value)
    assert said.startswith(f"the loss is nan in step 2 of epoch {1 + broken_at // 4}, with stimuli 'clip ")
    named_clips = {f"'{run.material.fit.ids[i]}'" for i in calls[broken_at - 1].stimuli}
    assert all(name in said for name in named_clips)
    assert not (tmp_path / "state").exists()
    if broken_at < 4:
        assert said.endswith("no epoch was better than the beginning, so there is no adapter")
        assert not (tmp_path / "mine").exists()
        return
    assert said.endswith(
        "'mine' is epoch 1, the best until then: the same command again measures it and writes its card"
    )
    unvalidated(named, optimiser={"learning_rate": 0.01, "epochs": 1}).run(
        tmp_path / "one", tmp_path / "other", "one", Quiet()
    )
    expected, found = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "mine"))
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_weights_that_are_no_numbers_are_never_kept(named, tmp_path, monkeypatch):
    run = unvalidated(named, optimiser={"learning_rate": 0.01, "epochs": 1})
    plain = run._objective

    def broken(embeddings, step, epoch, base):
        loss, parts = plain(embeddings, step, epoch, base)
        loss.register_hook(lambda gradient: gradient * float("nan"))  # the loss itself is a number
        return loss, parts

    monkeypatch.setattr(run, "_objective", broken)
    run.batches._steps = run._steps = 1  # the update that breaks is the last: no loss comes behind it
    with pytest.raises(VidsimError, match="weights are not finite behind epoch 1"):
        run.run(tmp_path / "mine", tmp_path / "state", "mine", Quiet())
    assert not (tmp_path / "mine").exists()


def test_memory_that_does_not_suffice_is_told_with_what_helps(named, tmp_path, monkeypatch):
    run = unvalidated(named)

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(run, "_objective", full)
    with pytest.raises(VidsimError, match=r"out of memory on cpu; set run\.checkpointing = true"):
        run.run(tmp_path / "mine", tmp_path / "state", "mine", Quiet())


def test_a_disk_that_is_full_at_the_end_keeps_what_was_trained(named, tmp_path, monkeypatch):
    told = {"optimiser": {"learning_rate": 0.01, "epochs": 1}}
    run = unvalidated(named, **told)

    def full(*_):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(adapter, "save_file", full)
    with pytest.raises(VidsimError, match=r"to '.*mine': .*No space left.*; make room .*: what was trained is kept$"):
        run.run(tmp_path / "mine", tmp_path / "state", "mine", Quiet())
    assert not (tmp_path / "mine").exists()
    monkeypatch.undo()
    again = Quiet()
    unvalidated(named, **told).run(tmp_path / "mine", tmp_path / "state", "mine", again)
    assert again.done == 1


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.ENOSPC, "make room"), (errno.EROFS, "make it writable"), (errno.EIO, "mend that")]
)
def test_what_a_disk_refuses_has_its_own_remedy(named, tmp_path, monkeypatch, number, remedy):
    def refuse(*_, **__):
        raise OSError(number, "no")

    def told(epochs):
        run = unvalidated(named, adapter={"rank": 0, "head": "linear"}, optimiser={"epochs": epochs})
        with pytest.raises(VidsimError) as caught:
            run.run(tmp_path / "mine", tmp_path / "state", "mine", Quiet())
        return str(caught.value)

    monkeypatch.setattr(adapter, "save_file", refuse)
    # what is fitted without epochs leaves no state
    assert told(0).endswith(f"mine': [Errno {number}] no; {remedy} and run the same command again")
    assert told(1).endswith(f"; {remedy} and run the same command again: what was trained is kept")
    monkeypatch.setattr("vidsim.adapt.state.save_file", refuse)
    (tmp_path / "state").unlink()
    assert told(1).endswith(f"state': [Errno {number}] no; {remedy} and run the same command again")


def test_a_state_of_another_precision_is_refused(named, tmp_path, monkeypatch):
    run = trainer(named, recipe())
    first = run._fingerprint()
    monkeypatch.setattr(type(run.accelerator), "mixed_precision", "bf16")
    assert run._fingerprint() != first


@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_gradients_are_clipped_to_the_norm_that_was_asked(named, monkeypatch, clip):
    told = recipe(optimiser={"learning_rate": 0.01, "epochs": 1, "clip": clip}, loss={"kind": "soft"})
    run, norms = trainer(named, told), []

    def step(self, closure=None):
        norms.append(sum(float(w.grad.square().sum()) for w in run.weights.values() if w.grad is not None) ** 0.5)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    model, optimiser = run._ready()
    for one in run.batches.epoch(0):
        run._step(one, 0, model, optimiser, np.random.default_rng(0))
    if clip:
        np.testing.assert_allclose(norms, clip, rtol=1e-4)
    else:
        assert min(norms) > 2e-3


def test_what_lies_behind_the_layer_that_is_trained_has_no_weights(named, tmp_path):
    inner = replace(named.card, default_layer=named.card.blocks[0])
    run = unvalidated(replace(named, card=inner))
    names = list(run.weights)
    assert names
    assert all(named.card.blocks[0] in name for name in names)
    before = {name: value.detach().clone() for name, value in run.weights.items()}
    run.run(tmp_path / "mine", tmp_path / "state", "mine", Quiet())
    assert not any(torch.equal(value, before[name]) for name, value in run.weights.items())
    whole = trainer(named, recipe())
    assert len(whole.weights) == len(names) * len(named.card.blocks)
    with pytest.raises(Unfit, match="no such linear layers"):
        trainer(replace(named, card=inner), recipe(adapter={"rank": 2, "targets": ["nothing"]}))


def test_the_best_epoch_is_kept_and_patience_ends_a_run(named, tmp_path, monkeypatch):
    told = recipe(optimiser={"learning_rate": 0.01, "epochs": 9, "patience": 2})
    run, values = trainer(named, told), iter([0.1, 0.2, 0.5, 0.3, 0.4, 0.9])
    kept = []

    def measured(epoch, losses, seconds):
        kept.append({name: value.detach().clone() for name, value in run.weights.items()})
        return {"epoch": epoch, "losses": dict(losses), "seconds": seconds, "rho": next(values)}

    monkeypatch.setattr(run, "_measured", measured)
    manifest = run.run(tmp_path / "mine", tmp_path / "state", "mine", Quiet())
    assert [row["rho"] for row in manifest.curve] == [0.1, 0.2, 0.5, 0.3, 0.4]
    saved = load_file(tmp_path / "mine" / "adapter_model.safetensors")
    assert all(torch.equal(value, kept[2][name]) for name, value in saved.items())


def test_gradient_checkpointing_changes_no_weight(named, tmp_path):
    found = []
    for checkpointing in (False, True):
        told = recipe(
            optimiser={"learning_rate": 0.01, "epochs": 1},
            run={"precision": "float32", "validation": 0, "checkpointing": checkpointing},
        )
        trainer(named, told).run(tmp_path / str(checkpointing), tmp_path / "state", "mine", Quiet())
        found.append(load_file(tmp_path / str(checkpointing) / "adapter_model.safetensors"))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-6)


def test_fixed_stimuli_run_in_the_mode_of_the_others_and_without_gradient(named, tmp_path):
    told = recipe(
        loss={"kind": "hybrid"},
        batches={"sampler": "trials", "rsa_steps": 1, "rsa_stimuli": 6, "rsa_gradients": 2},
        optimiser={"learning_rate": 0.01, "epochs": 1},
    )
    run, seen = trainer(named, told), []
    tower = run.tower

    def spied(ids, rng):
        seen.append((len(ids), torch.is_grad_enabled(), run.encoder.model.training))
        return tower(ids, rng)

    run.tower = spied
    run.run(tmp_path / "mine", tmp_path / "state", "mine", Quiet())
    assert all(training for *_, training in seen)
    assert [count for count, grad, _ in seen if not grad] == [4]
    assert not run.encoder.model.training


def test_warmup_and_schedules_by_hand():
    told = recipe(optimiser={"learning_rate": 0.1, "epochs": 2, "warmup": 0.25, "schedule": "cosine"}).optimiser
    rates = [learning_rate(told, step, 8) for step in range(8)]
    expected = [0.05, 0.1, *(0.05 * (1 + np.cos(np.pi * k / 6)) for k in range(6))]
    np.testing.assert_allclose(rates, expected)
    flat = recipe(optimiser={"learning_rate": 0.1, "epochs": 2}).optimiser
    assert {learning_rate(flat, step, 8) for step in range(8)} == {0.1}
    uneven = recipe(optimiser={"learning_rate": 0.1, "epochs": 2, "warmup": 0.1}).optimiser  # of 12 steps, 1.2
    np.testing.assert_allclose([learning_rate(uneven, step, 12) for step in range(3)], [0.1 / 1.2, 0.1, 0.1])


def test_samplers_follow_the_recipe():
    stuff = trials([f"s{i}" for i in range(30)], np.arange(30) % 2, 101, 0)
    told = recipe(loss={"kind": "hybrid"}, batches={"sampler": "trials", "trials": 4})
    assert len(make_batches(told, stuff, 0)) == 26
    told = recipe(batches={"sampler": "stimuli", "stimuli": 10, "steps": 7})
    assert len(make_batches(told, stuff, 0)) == 7


def test_the_head_is_the_published_one():
    torch.manual_seed(0)
    head = Head(6, 3).eval()
    vectors = torch.randn(4, 6)
    weight, bias, scale, shift = (value.detach().double() for value in head.parameters())
    mapped = vectors.double() @ weight.T + bias
    normed = (mapped - mapped.mean(1, keepdim=True)) / (mapped.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(head(vectors), (normed * scale + shift).clamp(min=0).float())
    assert json.loads(json.dumps([type(part).__name__ for part in head])) == ["Linear", "LayerNorm", "ReLU", "Dropout"]


def test_a_linear_head_begins_where_the_fit_on_frozen_embeddings_ends(named, tmp_path):
    told = recipe(adapter={"rank": 0, "head": "linear"}, optimiser={"epochs": 0})
    run = trainer(named, told)
    stuff = run.material
    pristine = catalog.load(run.resolved, device="cpu")
    ids = (*stuff.fit.ids, *stuff.validation.ids)
    frozen = Embeddings(
        ids,
        np.concatenate(
            [pristine.encode(stuff.frames(n)[None], ["layernorm"], lambda _, x: x)["layernorm"] for n in ids]
        ),
    )
    transform = fit_any(frozen.take(stuff.fit.ids), stuff.fit)
    manifest = run.run(tmp_path / "mine", tmp_path / "state", "mine", Quiet())
    assert manifest.head == frozen.matrix.shape[1]
    found = run.embed(stuff.validation.ids).matrix
    np.testing.assert_allclose(found, transform.apply(frozen.take(stuff.validation.ids)).matrix, atol=1e-4)


def test_material_without_what_the_encoder_takes_is_refused_at_once(named):
    with pytest.raises(VidsimError, match="sees, and the material has no frames"):
        trainer(named, recipe(), stuff=replace(material(named.card), frames=None))


def test_memory_that_does_not_suffice_outside_a_run_is_told_too(named, monkeypatch):
    run = unvalidated(named)

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(run.encoder, "forward", full)
    with pytest.raises(VidsimError, match=r"^out of memory on cpu; free some of it, or give another --device$"):
        run.embed(run.material.fit.ids)
