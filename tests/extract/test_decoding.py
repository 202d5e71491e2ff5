"""Extraction decodes in processes beside a GPU, and finds the same as in threads."""

from types import SimpleNamespace

import numpy as np
import pytest

from vidsim.data.sources import from_folder
from vidsim.encoders import catalog
from vidsim.encoders.decoding import DecodingProcesses
from vidsim.encoders.motion_energy import MotionEnergy
from vidsim.encoders.preprocess import Preprocess
from vidsim.errors import VidsimError
from vidsim.extract import FeatureSpec, embed_file, extract
from vidsim.extract.batches import batches
from vidsim.extract.clip import reading
from vidsim.extract.encode import encode
from vidsim.store import Failure, Store

from clips import moving_square, write_clip


@pytest.fixture
def encoder() -> SimpleNamespace:
    steps = Preprocess(shortest_edge=40, crop=(32, 32), factor=1 / 255, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    card = catalog.card("timesformer-base")
    return SimpleNamespace(card=card, preprocess=steps, prepare=steps.frame, provenance={}, encode=pytest.fail)


def outcomes(stimuli, encoder, device):
    """List what each stimulus comes to, in order: batches of one are either a clip or a failure."""
    found = batches(list(stimuli), encoder, FeatureSpec(), 1, 3, device)
    return [outcome for batch, failures in found for outcome in (*batch, *failures)]


def test_the_same_frames_and_failures_in_the_same_order(clips, tmp_path, encoder, monkeypatch):
    for path in clips.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "clip 2.mp4").write_bytes(b"no video" * 99)
    asked = []
    plain = DecodingProcesses.read
    monkeypatch.setattr(DecodingProcesses, "read", lambda self, path: asked.append(path) or plain(self, path))
    stimuli = from_folder(tmp_path)
    threads, processes = (outcomes(stimuli, encoder, device) for device in ("cpu", "mps"))
    assert len(asked) == len(threads) == len(processes) == 6
    for one, other in zip(threads, processes, strict=True):
        if isinstance(one, Failure):
            assert one == other
        else:
            assert one[0] == other[0]
            np.testing.assert_array_equal(one[1], other[1])
    assert sum(isinstance(one, Failure) for one in threads) == 1


def test_what_processes_leave_unscaled_is_scaled_where_it_is_encoded(tmp_path, encoder, monkeypatch):
    for number, size in enumerate([(48, 64), (60, 44), (48, 64), (90, 120)]):
        write_clip(tmp_path / f"{number}.mp4", moving_square(frames=9, height=size[0], width=size[1], step=number))
    plain = DecodingProcesses.__init__

    def without_pinning(self, *told, pinned: bool, unscaled: bool) -> None:
        assert pinned
        assert unscaled
        plain(self, *told, unscaled=unscaled)

    monkeypatch.setattr(DecodingProcesses, "__init__", without_pinning)
    stimuli = from_folder(tmp_path)
    there, came = (outcomes(stimuli, encoder, device) for device in ("cpu", "cuda"))
    assert [tuple(item.shape[1:]) for _, item in came] == [(48, 64, 3), (60, 44, 3), (48, 64, 3), (3, 32, 32)]
    given = []
    encoder.encode = lambda batch, layers, reduce: given.append(batch) or {"norm": np.zeros((len(batch), 2))}
    encode(encoder, [item for _, item in came], ["norm"], FeatureSpec(), "cpu")
    np.testing.assert_array_equal(given[0], np.stack([item for _, item in there]))


@pytest.mark.parametrize(("device", "workers"), [("cpu", 8), ("mps", 2)])
def test_few_or_without_a_gpu_threads_do(encoder, device, workers, monkeypatch):
    monkeypatch.setattr(DecodingProcesses, "__init__", lambda *_, **__: pytest.fail("a process was made"))
    with reading(encoder, FeatureSpec(), workers, device) as read:
        assert callable(read)


@pytest.mark.parametrize(
    "error", [MemoryError("Unable to allocate 9 GiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you")]
)
def test_a_lack_of_memory_is_told_in_a_line_and_is_no_fault_of_the_clip(clips, tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(MotionEnergy, "prepare", fail)
    resolved, store = catalog.resolve("motion-energy"), Store(tmp_path, create=True)
    with pytest.raises(VidsimError, match=r"^out of memory on cpu; free some of it, or use fewer --workers$"):
        extract(from_folder(clips), resolved, store, device="cpu")
    assert not list(store.failures)
    with pytest.raises(VidsimError, match=r"^out of memory on cpu; free some of it$"):
        embed_file(clips / "clip 0.mp4", resolved, FeatureSpec(), "combined", "cpu")
