import errno
import gc
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import write_qwen

from vidsim.adapt.frames import STALE, FrameCache
from vidsim.data.pyav import PyAV
from vidsim.data.sources import from_folder
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.data.video import decoder
from vidsim.encoders import catalog
from vidsim.encoders.base import Sampling
from vidsim.encoders.checkpoint import Resolved
from vidsim.encoders.frame_encoder import FramedEncoder
from vidsim.encoders.preprocess import Preprocess
from vidsim.errors import UnusableFile, VidsimError

from clips import moving_square, write_clip

PIXELS = 8 * 3 * 32 * 32
BYTES = PIXELS + 2 * 4 + 16


def encoder(frames=8, size=32, resample=2):
    card = replace(catalog.card("timesformer-base"), size=size, sampling=Sampling(frames=frames))
    preprocess = Preprocess(shortest_edge=size, crop=(size, size), resample=resample)
    return FramedEncoder(Resolved(card=card, version=1, pooling="cls"), "cpu", preprocess)


@pytest.fixture
def stimuli(clips, tmp_path):
    shutil.copytree(clips, tmp_path / "clips")
    return from_folder(tmp_path / "clips")


@pytest.fixture
def decodings(monkeypatch):
    """Collect the paths that are decoded."""
    paths = []
    plain = PyAV.decode

    def decode(self, path, times, transform=None):
        paths.append(path)
        return plain(self, path, times, transform)

    monkeypatch.setattr(PyAV, "decode", decode)
    return paths


def files(folder):
    return sorted(path for path in folder.iterdir())


def direct(stimulus, of):
    return decoder().decode(stimulus.path, of.card.sampling.times, of.prepare).images


def assert_right(cache, stimuli, of=None):
    for stimulus in stimuli:
        frames = cache.get(stimulus.id)
        assert frames.dtype == torch.uint8
        assert torch.equal(frames, direct(stimulus, of or encoder()))


def test_frames_are_those_of_direct_preparation_to_the_bit(stimuli, tmp_path):
    cache = FrameCache(tmp_path / "frames", encoder())
    assert cache.fill(stimuli) == {}
    assert_right(cache, stimuli)
    found = files(tmp_path / "frames")
    assert len(found) == 6
    assert {path.stat().st_size for path in found} == {BYTES}
    # a file is plain: whoever knows the shape reads it with numpy
    plain = {np.fromfile(path, np.uint8, PIXELS).tobytes() for path in found}
    assert plain == {cache.get(name).numpy().tobytes() for name in stimuli.ids}


def test_frames_are_mapped_and_writing_into_them_changes_no_file(stimuli, tmp_path):
    cache = FrameCache(tmp_path / "frames", encoder())
    cache.fill(stimuli)
    name = stimuli.ids[0]
    before = {path: path.read_bytes() for path in files(tmp_path / "frames")}
    frames = cache.get(name)
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert any(path.name in maps.read_text() for path in before)
    frames += 1
    assert not torch.equal(frames, cache.get(name))
    assert {path: path.read_bytes() for path in before} == before
    open_files = len(list(Path("/proc/self/fd").iterdir())) if maps.exists() else 0
    held = [cache.get(name) for _ in range(50)]
    assert len(held) == 50
    if maps.exists():  # mapped files must not use up the process's open files
        assert len(list(Path("/proc/self/fd").iterdir())) < open_files + 10


def test_no_clip_is_decoded_twice_over_epochs_and_processes(stimuli, tmp_path, decodings):
    for _ in range(3):  # as three processes, one after the other
        cache = FrameCache(tmp_path / "frames", encoder())
        cache.fill(stimuli)
        for _ in range(5):
            total = sum(int(cache.get(name).sum()) for name in stimuli.ids)
        assert total > 0
    assert sorted(decodings) == sorted(s.path for s in stimuli)
    # moved, copied and renamed clips are the same clips
    moved = tmp_path / "elsewhere"
    shutil.copytree(stimuli.stimuli[0].path.parent, moved)
    (moved / "clip 0.mp4").rename(moved / "zero.mp4")
    shutil.copy(moved / "clip 1.mp4", moved / "twin.mp4")
    cache = FrameCache(tmp_path / "frames", encoder())
    assert cache.fill(from_folder(moved)) == {}
    assert len(decodings) == 6
    assert torch.equal(cache.get("zero.mp4"), direct(stimuli.stimuli[0], encoder()))
    assert torch.equal(cache.get("twin.mp4"), cache.get("clip 1.mp4"))
    # twins in a new cache are decoded once
    decodings.clear()
    FrameCache(tmp_path / "fresh", encoder()).fill(from_folder(moved))
    assert len(decodings) == 6


def test_clips_of_a_vision_language_model_keep_their_own_sizes(tmp_path, decodings):
    made = write_qwen(tmp_path / "qwen")
    qwen = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    for number, (height, width) in enumerate([(48, 64), (96, 40), (64, 128)]):
        write_clip(tmp_path / "clips" / f"{number}.mp4", moving_square(frames=20, height=height, width=width))
    stimuli = from_folder(tmp_path / "clips")
    for _ in range(2):
        cache = FrameCache(tmp_path / "frames", qwen)
        assert cache.fill(stimuli) == {}
        assert_right(cache, stimuli, qwen)
    shapes = {tuple(cache.get(name).shape) for name in stimuli.ids}
    assert shapes == {(7, 3, *qwen.preprocess.target(*size)) for size in [(48, 64), (96, 40), (64, 128)]}
    assert len(shapes) == 3
    assert len([path for path in decodings if path.parent.name == "clips"]) == 3 * 2 + 3  # `direct` decodes them too
    # sides are part of what is checked: turned round, the file would have the right length
    path = max(files(tmp_path / "frames"), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    sides = data[-24:-16]
    assert sides[:4] != sides[4:]
    data[-24:-16] = sides[4:] + sides[:4]
    path.write_bytes(data)
    decodings.clear()
    again = FrameCache(tmp_path / "frames", qwen)
    again.fill(stimuli)
    assert len(decodings) == 1
    assert_right(again, stimuli, qwen)


@pytest.mark.parametrize("other", [{"frames": 4}, {"size": 16}, {"resample": 3}])
def test_encoders_share_files_only_where_they_see_the_same_pixels(stimuli, tmp_path, decodings, other):
    FrameCache(tmp_path / "frames", encoder()).fill(stimuli)
    FrameCache(tmp_path / "frames", encoder()).fill(stimuli)
    assert len(decodings) == 6
    cache = FrameCache(tmp_path / "frames", encoder(**other))
    cache.fill(stimuli)
    assert len(decodings) == 12
    assert_right(cache, stimuli, encoder(**other))
    assert len(files(tmp_path / "frames")) == 12


def test_encoders_that_normalise_otherwise_share_files(stimuli, tmp_path, decodings):
    FrameCache(tmp_path / "frames", encoder()).fill(stimuli)
    other = encoder()
    other.preprocess = replace(other.preprocess, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), factor=1 / 127.5)
    cache = FrameCache(tmp_path / "frames", other)
    cache.fill(stimuli)
    assert len(decodings) == 6
    assert_right(cache, stimuli, other)


def test_an_encoder_is_not_kept_in_memory(stimuli, tmp_path):
    mine = encoder()
    mine.model = torch.nn.Linear(2, 2)
    gone = weakref.ref(mine.model)
    cache = FrameCache(tmp_path / "frames", mine)
    del mine
    gc.collect()
    assert gone() is None
    assert cache.fill(stimuli) == {}


def test_a_changed_clip_is_decoded_anew(stimuli, tmp_path, decodings):
    FrameCache(tmp_path / "frames", encoder()).fill(stimuli)
    write_clip(stimuli.stimuli[2].path, moving_square(frames=9, step=5))
    decodings.clear()
    cache = FrameCache(tmp_path / "frames", encoder())
    cache.fill(stimuli)
    assert decodings == [stimuli.stimuli[2].path]
    assert_right(cache, stimuli)


@pytest.mark.parametrize("harm", ["short", "flipped", "empty", "longer"])
def test_a_damaged_file_is_told_and_made_again(stimuli, tmp_path, decodings, caplog, harm):
    FrameCache(tmp_path / "frames", encoder()).fill(stimuli)
    path = files(tmp_path / "frames")[3]
    data = bytearray(path.read_bytes())
    if harm == "flipped":
        data[1000] ^= 1
    path.write_bytes({"short": data[:-100], "flipped": data, "empty": b"", "longer": data + b"x"}[harm])
    decodings.clear()
    cache = FrameCache(tmp_path / "frames", encoder())
    assert cache.fill(stimuli) == {}
    assert len(decodings) == 1
    assert f"{str(path)!r} is cut off or damaged; decoding {str(decodings[0])!r} again" in caplog.text
    assert_right(cache, stimuli)


def test_a_file_that_goes_while_training_is_made_again(stimuli, tmp_path, decodings, caplog):
    cache = FrameCache(tmp_path / "frames", encoder())
    cache.fill(stimuli)
    first, second = files(tmp_path / "frames")[:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    decodings.clear()
    kept = [cache.get(name).clone() for name in stimuli.ids]
    assert len(decodings) == 2
    assert "is gone or cut off; decoding" in caplog.text
    for frames, stimulus in zip(kept, stimuli, strict=True):
        assert torch.equal(frames, direct(stimulus, encoder()))
    shutil.rmtree(tmp_path / "frames")
    shutil.rmtree(stimuli.stimuli[0].path.parent)
    with pytest.raises(UnusableFile, match="is not there"):
        cache.get(stimuli.ids[0])


def test_clips_that_cannot_be_used_are_returned_by_id(stimuli, tmp_path):
    folder = stimuli.stimuli[0].path.parent
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("no video")
    extra = [
        Stimulus("empty", folder / "empty.mp4"),
        Stimulus("gone", folder / "gone.mp4"),
        Stimulus("words", None, ("a caption",)),
        Stimulus("text", folder / "text.mp4"),
        Stimulus("same text", folder / "text.mp4"),
    ]
    cache = FrameCache(tmp_path / "frames", encoder())
    failures = cache.fill(StimulusSet((*extra, *stimuli)))
    assert {name: error.kind for name, error in failures.items()} == {
        "empty": "empty",
        "gone": "vanished",
        "words": "no-path",
        "text": "not-a-video",
        "same text": "not-a-video",
    }
    assert list(failures) == [s.id for s in extra]
    assert_right(cache, stimuli)
    for name in failures:
        with pytest.raises(VidsimError, match=r"no frames of '.*' in the cache; fill it with that stimulus first"):
            cache.get(name)


def test_a_clip_that_changes_while_it_is_read_is_no_frame_of_anything(stimuli, tmp_path, monkeypatch):
    plain = PyAV.decode

    def decode(self, path, times, transform=None):
        frames = plain(self, path, times, transform)
        os.utime(path, ns=(1, 1))
        return frames

    monkeypatch.setattr(PyAV, "decode", decode)
    failures = FrameCache(tmp_path / "frames", encoder()).fill(stimuli)
    assert {error.kind for error in failures.values()} == {"changing"}
    assert not (tmp_path / "frames").exists()


def test_progress_hears_of_what_is_decoded_alone(stimuli, tmp_path):
    class Told:
        def __init__(self):
            self.heard = []

        def begin(self, total, what):
            self.heard.append((total, what))

        def advance(self, encoded, failed):
            self.heard.append((encoded, failed))

    (stimuli.stimuli[0].path.parent / "bad.mp4").write_text("no video")
    some = from_folder(stimuli.stimuli[0].path.parent)
    told = Told()
    FrameCache(tmp_path / "frames", encoder()).fill(some, progress=told)
    assert told.heard[0] == (7, "timesformer-base")
    assert told.heard[-1] == (6, 1)
    assert [sum(pair) for pair in told.heard[1:]] == list(range(1, 8))
    told = Told()
    FrameCache(tmp_path / "frames", encoder()).fill(stimuli, progress=told)
    assert told.heard == []


@pytest.mark.parametrize(
    ("number", "said", "remedy"),
    [
        (errno.ENOSPC, "the disk is full", "make room"),
        (errno.EROFS, "the disk is read-only", "make it writable"),
        (errno.EIO, "Input/output error", "mend that"),
    ],
)
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(stimuli, tmp_path, monkeypatch, number, said, remedy):
    plain, calls = os.fsync, []

    def fsync(handle):
        calls.append(handle)
        if len(calls) > 2:
            raise OSError(number, os.strerror(number))
        plain(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    cache = FrameCache(tmp_path / "frames", encoder())
    with pytest.raises(VidsimError) as caught:
        cache.fill(stimuli)
    message = str(caught.value)
    assert message.startswith(f"cannot write frames (0.0 MB a clip) to '{tmp_path}/frames': {said}; ")
    assert message.endswith(f"; what is there stays, {remedy} and run again")
    assert "\n" not in message
    assert {path.suffix for path in files(tmp_path / "frames")} == {".frames"}
    assert len(files(tmp_path / "frames")) == 2
    monkeypatch.setattr(os, "fsync", plain)
    assert cache.fill(stimuli) == {}
    assert_right(cache, stimuli)


def test_a_folder_that_cannot_be_made(stimuli, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(VidsimError, match=r"cannot write frames .* to '.*/file/frames': Not a directory"):
        FrameCache(tmp_path / "file" / "frames", encoder()).fill(stimuli)


KILLED = """
import os, signal, sys
sys.path[:0] = [{tests!r}, {here!r}]
from pathlib import Path
from test_frames import FrameCache, encoder, from_folder
count, plain = 0, os.{call}
def kill(*arguments, **options):
    global count
    count += 1
    if count == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*arguments, **options)
os.{call} = kill
FrameCache(Path(sys.argv[2]), encoder()).fill(from_folder(Path(sys.argv[1])), workers=1)
"""


@pytest.mark.parametrize("call", ["fsync", pytest.param("replace", marks=pytest.mark.slow)])
def test_a_process_killed_while_it_writes_leaves_nothing_that_looks_whole(stimuli, tmp_path, decodings, call):
    here = Path(__file__).resolve().parent
    code = KILLED.format(tests=str(here.parent), here=str(here), call=call)
    folder = tmp_path / "frames"
    command = [sys.executable, "-c", code, str(stimuli.stimuli[0].path.parent), str(folder)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert [path.suffix for path in files(folder)].count(".frames") == 2
    drafts = [path for path in files(folder) if path.suffix != ".frames"]
    assert len(drafts) == 1
    cache = FrameCache(folder, encoder())
    assert cache.fill(stimuli) == {}
    assert len(decodings) == 4
    assert_right(cache, stimuli)
    # a young draft may be another process's; an old one is swept away
    assert drafts[0].exists()
    os.utime(drafts[0], (time.time() - 2 * STALE,) * 2)
    cache.fill(stimuli)
    assert [path.suffix for path in files(folder)] == [".frames"] * 6


def fill(folder, source, barrier, results):
    cache = FrameCache(folder, encoder())
    stimuli = from_folder(source)
    barrier.wait()
    failures = cache.fill(stimuli)
    results.put((len(failures), {name: cache.get(name).numpy().tobytes() for name in stimuli.ids}))


@pytest.mark.slow
def test_two_processes_that_fill_at_once_do_no_harm(stimuli, tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    folder, source = tmp_path / "frames", stimuli.stimuli[0].path.parent
    processes = [context.Process(target=fill, args=(folder, source, barrier, results)) for _ in range(2)]
    for process in processes:
        process.start()
    answers = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(60)
    expected = {s.id: direct(s, encoder()).numpy().tobytes() for s in stimuli}
    assert answers == [(0, expected)] * 2
    assert [path.suffix for path in files(folder)] == [".frames"] * 6


def test_the_digest_tells_other_clips_under_the_same_ids(stimuli, tmp_path):
    first, again = (FrameCache(tmp_path / "cache", encoder()) for _ in range(2))
    for cache in (first, again):
        cache.fill(stimuli)
    assert first.digest == again.digest
    write_clip(stimuli.take(stimuli.ids[:1]).stimuli[0].path, moving_square(frames=9))
    again.fill(stimuli)
    assert first.digest != again.digest


def test_a_lack_of_memory_is_told_in_a_line_and_is_no_fault_of_the_clip(stimuli, tmp_path, monkeypatch):
    cache = FrameCache(tmp_path / "frames", encoder())

    def fail(*_):
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr(cache, "_prepare", fail)
    with pytest.raises(VidsimError, match=r"^out of memory on cpu; free some of it, or use fewer --workers$"):
        cache.fill(stimuli)
