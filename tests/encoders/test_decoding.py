"""Decoding in processes: the same frames and the same failures as in this one, whatever becomes of a process."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidsim.data.video import decoder
from vidsim.encoders import decoding
from vidsim.encoders.base import Sampling
from vidsim.encoders.decoding import DecodingProcesses
from vidsim.encoders.preprocess import Preprocess
from vidsim.encoders.short_side import ShortSide
from vidsim.errors import UnusableFile, VidsimError

from clips import moving_square, write_clip

COLOURS = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}
STEPS = (
    Preprocess(shortest_edge=40, crop=(32, 32), factor=1 / 255, **COLOURS),
    ShortSide(shortest_edge=40, crop=(32, 32), factor=1 / 255, **COLOURS),
)
SAMPLING = Sampling(frames=5)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(3):
        write_clip(folder / f"clip {number}.mp4", moving_square(frames=12 + number, step=1 + number))
    return folder


@pytest.fixture
def processes() -> Iterator[DecodingProcesses]:
    with DecodingProcesses("pyav", SAMPLING, STEPS[0]) as made:
        yield made


@pytest.mark.parametrize("steps", STEPS, ids=lambda one: type(one).__name__)
def test_frames_are_those_of_this_process(videos, steps):
    paths = sorted(videos.glob("*.mp4"))
    with DecodingProcesses("pyav", SAMPLING, steps) as processes:
        for path in paths:
            (content, found), plain = processes.read(path), decoder().decode(path, SAMPLING.times, steps.frame)
            assert content == hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
            assert found.images.shape == (5, 3, 32, 32)
            np.testing.assert_array_equal(found.images, plain.images)
            np.testing.assert_array_equal(found.times, plain.times)
            assert found.duration == plain.duration


@pytest.mark.parametrize("steps", STEPS, ids=lambda one: type(one).__name__)
def test_frames_are_left_as_decoded_where_they_can_wait(videos, steps):
    path = videos / "clip 0.mp4"
    height, width = decoder().decode(path, SAMPLING.times).images.shape[1:3]
    smaller = replace(steps, shortest_edge=24, crop=(24, 24))
    assert not smaller.can_wait(height, width)  # it has more than four times the pixels
    assert steps.can_wait(height, width) == (type(steps) is Preprocess)
    for one in (steps, smaller):
        prepare = None if one.can_wait(height, width) else one.frame
        with DecodingProcesses("pyav", SAMPLING, one, unscaled=True) as processes:
            found, plain = processes.read(path)[1].images, decoder().decode(path, SAMPLING.times, prepare).images
        np.testing.assert_array_equal(found, plain)


def test_frames_of_several_sizes_are_scaled_where_they_are_decoded(tmp_path):
    path = tmp_path / "both.ts"
    with av.open(str(path), "w", format="mpegts") as container:
        stream, shown = container.add_stream("mpeg2video", rate=10), 0
        for height, width in ((48, 64), (64, 96)):
            own = av.CodecContext.create("mpeg2video", "w")
            own.width, own.height, own.pix_fmt, own.time_base = width, height, "yuv420p", Fraction(1, 10)
            frames = [av.VideoFrame.from_ndarray(one, "rgb24") for one in moving_square(10, height, width)]
            for packet in [packet for frame in (*frames, None) for packet in own.encode(frame)]:
                packet.stream, packet.pts, packet.dts = stream, shown * 9000, shown * 9000
                packet.time_base, shown = Fraction(1, 90000), shown + 1
                container.mux(packet)
    steps = Preprocess(shortest_edge=40, crop=(32, 32), factor=1 / 255, **COLOURS)
    plain = decoder().decode(path, SAMPLING.times, steps.frame)
    with pytest.raises(UnusableFile, match="changes its frame size midway"):
        decoder().decode(path, SAMPLING.times)
    with DecodingProcesses("pyav", SAMPLING, steps, unscaled=True) as processes:
        np.testing.assert_array_equal(processes.read(path)[1].images, plain.images)


def test_real_files_fare_as_in_this_process(shared, processes):
    def outcome(read) -> object:
        try:
            return read().images.tolist()
        except UnusableFile as error:
            return error.kind, error.reason

    paths = [path for part in ("formats", "broken") for path in sorted((shared / "data" / "clips" / part).iterdir())]
    failed = 0
    for path in paths:
        ours = outcome(lambda path=path: processes.read(path)[1])
        assert ours == outcome(lambda path=path: decoder().decode(path, SAMPLING.times, STEPS[0].frame)), path
        failed += isinstance(ours, tuple)
    assert 0 < failed < len(paths)


def test_names_of_any_bytes(videos, tmp_path, processes):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\nb\xff.mp4"))
    odd.write_bytes((videos / "clip 0.mp4").read_bytes())
    np.testing.assert_array_equal(processes.read(odd)[1].images, processes.read(videos / "clip 0.mp4")[1].images)


def test_a_crash_costs_one_file(videos, processes):
    path = videos / "clip 0.mp4"
    whole = processes.read(path)[1].images
    (process,) = processes._all
    os.kill(process.pid, signal.SIGSEGV)
    process.wait()
    with pytest.raises(UnusableFile, match=r"clip 0.mp4' breaks the decoder") as caught:
        processes.read(path)
    assert caught.value.kind == "decoder"
    np.testing.assert_array_equal(processes.read(path)[1].images, whole)


def test_a_killed_process_is_no_fault_of_the_file(videos, processes):
    processes.read(videos / "clip 0.mp4")
    os.kill(processes._all[0].pid, signal.SIGKILL)
    processes._all[0].wait()
    with pytest.raises(VidsimError, match=r"clip 1.mp4' was ended by signal 9; .* fewer --workers") as caught:
        processes.read(videos / "clip 1.mp4")
    assert not isinstance(caught.value, UnusableFile)


def test_no_process_is_left(videos):
    with DecodingProcesses("pyav", SAMPLING, STEPS[0]) as processes:
        processes.read(videos / "clip 0.mp4")
        (process,) = processes._all
    assert process.poll() is not None


def test_a_process_that_cannot_begin_is_told_of(videos, monkeypatch):
    monkeypatch.setattr(decoding, "CHILD", "raise SystemExit(3)")
    with (
        DecodingProcesses("pyav", SAMPLING, STEPS[0]) as broken,
        pytest.raises(VidsimError, match=r"clip 0.mp4' was ended with status 3; what is done stays, run again"),
    ):
        broken.read(videos / "clip 0.mp4")


def test_a_process_ends_with_its_parent(videos):
    told = json.dumps(
        {
            "decoder": "pyav",
            "sampling": asdict(SAMPLING),
            "kind": "pillow",
            "preprocess": asdict(STEPS[0]),
            "unscaled": False,
        }
    )
    child = subprocess.Popen(
        [sys.executable, "-c", decoding.CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    path = os.fspath(videos / "clip 0.mp4")
    child.stdin.write(f"{told}\n".encode() + f"{json.dumps(path)}\n".encode() * 50)
    child.stdin.flush()
    assert json.loads(child.stdout.readline())["shape"] == [5, 3, 32, 32]
    child.stdout.close()  # as when the parent is killed in the middle
    child.stdin.close()
    assert child.wait(60) == 0
    assert child.stderr is not None
    assert child.stderr.read() == b""
    child.stderr.close()
