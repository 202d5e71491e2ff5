import json

import pytest
from tiny_study import ready, refused, run, study

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
    # another run's is not taken for one's own
    for path in (folders / "mine").iterdir():
        path.unlink()
    (folders / "mine").rmdir()
    assert "an adapter 'mine.seed-0' is there already, of another run" in refused(
        vidsim, "--seeds", "0,1", "--epochs", 1
    )
