import json

import pytest
from safetensors.torch import load_file, save_file
from tiny_study import ready, refused, run, same, study, weights

from vidsim.adapt.claim import claimed
from vidsim.cli import trained

__all__ = ["ready", "study"]


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
    for path in (folders / "mine").iterdir():  # as if it had been killed before the last card
        if path.name == "README.md":
            path.unlink()
    status, _, err = run(vidsim, "--seeds", "0,1")
    assert status == 0
    assert "seed-0: seed" not in err
    assert "seed-1: seed" not in err
    assert "mine" in (folders / "mine" / "README.md").read_text()
    # another run's is not taken for one's own
    for path in (folders / "mine").iterdir():
        path.unlink()
    (folders / "mine").rmdir()
    assert "an adapter 'mine.seed-0' is there already, of another run" in refused(
        vidsim, "--seeds", "0,1", "--epochs", 1
    )


def test_killed_before_its_card_is_written_the_same_command_does_the_rest_alone(vidsim, ready, monkeypatch):
    def unplugged(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trained, "evaluate_runs", unplugged)
        run(vidsim)
    folder = ready / "indexes" / "adapters" / "mine"
    left = weights(folder)
    assert not (folder / "README.md").exists()
    assert "an adapter 'mine' is there already, of another run" in refused(vidsim, "--epochs", 1)
    assert "an adapter 'mine' is there already, of another run" in refused(vidsim, "--epochs", 1, "--restart")
    status, out, err = run(vidsim)
    assert (status, err) == (0, "")  # nothing is trained
    assert "mine: " in out
    assert (folder / "README.md").exists()
    assert (folder / "curve.png").exists()
    assert same(weights(folder), left)
    assert "is in 'indexes' already" in refused(vidsim)


def test_restart_replaces_no_adapter_of_another_run(vidsim, ready):
    assert run(vidsim, "--epochs", 1, name="mine.seed-0")[0] == 0
    before = weights(ready / "indexes" / "adapters" / "mine.seed-0")
    assert "'mine.seed-0' is there already, of another run" in refused(vidsim, "--seeds", "0,1", "--restart")
    assert same(weights(ready / "indexes" / "adapters" / "mine.seed-0"), before)


def test_an_adapter_that_appears_while_seeds_are_measured_is_not_replaced(vidsim, ready, monkeypatch):
    folder, evaluate = ready / "indexes" / "adapters" / "mine", trained.evaluate_runs

    def meanwhile(*arguments):
        folder.mkdir()
        (folder / "README.md").write_text("another's")
        return evaluate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trained, "evaluate_runs", meanwhile)
        status, out, err = run(vidsim, "--seeds", "0,1", "--epochs", 1)
    assert (status, out) == (2, "")
    told = err.splitlines()[-1]
    assert told.startswith(
        "vidsim: another run has left 'indexes/adapters/mine' meanwhile; move it elsewhere, or replace it"
    )
    assert [path.read_text() for path in folder.iterdir()] == ["another's"]
    folder.rename(folder.with_name("other"))
    status, _, err = run(vidsim, "--seeds", "0,1", "--epochs", 1)
    assert (status, err) == (0, "")  # nothing is trained again
    assert (folder / "README.md").exists()


@pytest.mark.parametrize("card", [True, False])
def test_a_damaged_adapter_is_replaced_when_asked(card, vidsim, ready):
    folder = ready / "indexes" / "adapters" / "mine"
    folder.mkdir(parents=True)
    (folder / "vidsim.json").write_text("{")
    if card:
        (folder / "README.md").write_text("mine")
    assert "--force replaces it" in refused(vidsim, "--epochs", 1)
    status, _, err = run(vidsim, "--epochs", 1, "--force")
    assert status == 0, err
    assert len(weights(folder))


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_seed_whose_weights_are_not_what_was_saved_is_not_taken_for_done(damage, vidsim, ready):
    assert run(vidsim, "--seeds", "0,1", "--epochs", 1)[0] == 0
    folders = ready / "indexes" / "adapters"
    (folders / "mine" / "README.md").unlink()  # as if it had been killed before the last card
    path = folders / "mine.seed-0" / "adapter_model.safetensors"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        save_file({name: value + 1 for name, value in load_file(path).items()}, path)
    said = refused(vidsim, "--seeds", "0,1", "--epochs", 1)
    assert "mine.seed-0/adapter_model.safetensors' is not what was saved (SHA-256 " in said
    assert said.endswith("restore it or train the adapter again\n")


@pytest.mark.parametrize("held", ["mine", "mine.seed-0"])
def test_while_a_training_runs_another_of_its_names_is_refused(held, vidsim, ready):
    with claimed(ready / "indexes", [held]):
        told = refused(vidsim, "--seeds", "0,1", "--force")
        assert told.startswith(f"vidsim: another training of '{held}' is running in ")
        assert run(vidsim, "--epochs", 1, name="other")[0] == 0
    assert run(vidsim, "--seeds", "0,1", "--epochs", 1)[0] == 0
    assert not list((ready / "indexes").glob(".*"))
