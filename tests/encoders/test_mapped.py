"""Weights in a checkpoint's file: they leave memory after use, unless somebody wrote to them."""

import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vidsim.encoders.mapped import release_when_used

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are counted in /proc of Linux")
BYTES = 2 * 4 * 1024 * 1024


@pytest.fixture
def model(tmp_path: Path) -> nn.Module:
    """Load two layers of four megabytes from a file."""
    state = {f"{k}.weight": torch.randn(1024, 1024) for k in range(2)}
    save_file(state, tmp_path / "model.safetensors")
    layers = nn.Sequential(nn.Linear(1024, 1024, bias=False), nn.Linear(1024, 1024, bias=False))
    layers.load_state_dict(load_file(tmp_path / "model.safetensors"), assign=True)
    return layers.requires_grad_(requires_grad=False)


def resident(folder: Path) -> int:
    """Count the bytes of files in a folder that are mapped and in memory, as the system tells."""
    text = Path("/proc/self/smaps").read_text()
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.MULTILINE)
    ours = [part for part in parts if str(folder) in part.partition("\n")[0]]
    return 1024 * sum(int(re.search(r"^Rss: +(\d+) kB", part, re.MULTILINE)[1]) for part in ours)  # type: ignore[index]


def run(model: nn.Module) -> Tensor:
    with torch.inference_mode():
        return model(torch.ones(1, 1024))


def test_weights_leave_memory_when_they_were_used(model: nn.Module, tmp_path: Path) -> None:
    before = run(model)
    assert resident(tmp_path) > 0.9 * BYTES  # otherwise what follows would show nothing
    release_when_used(model)
    assert torch.equal(run(model), before)
    assert resident(tmp_path) < 0.1 * BYTES
    assert torch.equal(run(model), before)


def test_weights_that_were_written_to_stay(model: nn.Module) -> None:
    release_when_used(model)
    run(model)
    model[0].weight.data[512, 7] += 1.0  # in one page of a thousand, behind autograd's back
    written = model[0].weight.clone()
    outputs = [run(model) for _ in range(2)]
    assert torch.equal(model[0].weight, written)
    assert torch.equal(outputs[0], outputs[1])


def test_weights_that_are_no_file_stay(model: nn.Module) -> None:
    own = nn.Linear(1024, 1024)
    release_when_used(own)
    weight = own.weight.clone()
    run(own)
    assert torch.equal(own.weight, weight)


def test_training_keeps_weights(model: nn.Module, tmp_path: Path) -> None:
    release_when_used(model)
    model(torch.ones(1, 1024))
    assert resident(tmp_path) > 0.9 * BYTES


def test_a_system_without_page_maps_changes_nothing(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidsim.encoders.mapped.PAGEMAP", tmp_path / "none")
    release_when_used(model)
    run(model)
    assert resident(tmp_path) > 0.9 * BYTES
