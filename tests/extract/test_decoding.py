"""Extraction decodes in processes beside a GPU, and finds the same as in threads."""

from types import SimpleNamespace

import numpy as np
import pytest

from vidsim.data.sources import from_folder
from vidsim.encoders import catalog
from vidsim.encoders.decoding import DecodingProcesses
from vidsim.encoders.preprocess import Preprocess
from vidsim.extract import FeatureSpec, run
from vidsim.store import Failure


@pytest.fixture
def encoder() -> SimpleNamespace:
    steps = Preprocess(shortest_edge=40, crop=(32, 32), factor=1 / 255, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    card = catalog.card("timesformer-base")
    return SimpleNamespace(card=card, preprocess=steps, prepare=steps.frame, provenance={}, encode=pytest.fail)


def test_the_same_frames_and_failures_in_the_same_order(clips, tmp_path, encoder, monkeypatch):
    for path in clips.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "clip 2.mp4").write_bytes(b"no video" * 99)
    asked = []
    plain = DecodingProcesses.read
    monkeypatch.setattr(DecodingProcesses, "read", lambda self, path: asked.append(path) or plain(self, path))
    stimuli = from_folder(tmp_path)
    threads, processes = (
        list(run._decoded(list(stimuli), encoder, FeatureSpec(), 2, 3, device)) for device in ("cpu", "mps")
    )
    assert len(asked) == len(threads) == len(processes) == 6
    for one, other in zip(threads, processes, strict=True):
        if isinstance(one, Failure):
            assert one == other
        else:
            assert one[0] == other[0]
            np.testing.assert_array_equal(one[1], other[1])
    assert sum(isinstance(one, Failure) for one in threads) == 1


@pytest.mark.parametrize(("device", "workers"), [("cpu", 8), ("mps", 2)])
def test_few_or_without_a_gpu_threads_do(encoder, device, workers, monkeypatch):
    monkeypatch.setattr(DecodingProcesses, "__init__", lambda *_, **__: pytest.fail("a process was made"))
    with run._reading(encoder, FeatureSpec(), workers, device) as read:
        assert callable(read)
