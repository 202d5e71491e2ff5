"""Frames of H.264 that nothing needs: they are left out, and no other changes."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet
from numbered import FRAMES, RATE, middles, moving, numbered, slowly

from vidsim.data import pyav, sparse
from vidsim.data.container import frames as every_frame
from vidsim.data.container import opened
from vidsim.data.timeline import from_packets
from vidsim.data.video import decoder

pytestmark = pytest.mark.usefixtures("silent")


@pytest.mark.parametrize(
    "structure",
    [
        *("bframes=0", "bframes=3:b-adapt=0:b-pyramid=none", "bframes=8:b-adapt=0:b-pyramid=normal"),
        *("bframes=3:b-adapt=0:b-pyramid=strict:open-gop=1:keyint=9", "bframes=2:b-adapt=0:intra-refresh=1:keyint=12"),
        *(
            "bframes=3:b-adapt=0:weightp=2:ref=5:slices=3",
            "bframes=3:b-adapt=0:interlaced=1",
            "bframes=3:fake-interlaced=1",
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_left_out_change_no_other(tmp_path: Path, structure: str, suffix: str) -> None:
    path, rng = moving(tmp_path / f"a.{suffix}", structure), np.random.default_rng(0)
    for _ in range(3):
        moments = rng.uniform(0, FRAMES / RATE, 4)
        got, want = decoder().decode(path, lambda _, at=moments: at), slowly(path, lambda _, at=moments: at)
        np.testing.assert_array_equal(got.images, want.images)
        np.testing.assert_allclose(got.times, want.times, atol=1e-9)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the frames that come out of the decoder."""
    count: Counter[str] = Counter()

    def counting(path: Path, arriving: Iterable[Packet]) -> Iterator[av.VideoFrame]:
        for frame in every_frame(path, arriving):
            count["frames"] += 1
            yield frame

    for module in (sparse, pyav):
        monkeypatch.setattr(module, "frames", counting)
    return count


def test_b_frames_that_nobody_wants_are_not_decoded(tmp_path: Path, decoded: Counter[str]) -> None:
    path = moving(tmp_path / "a.mp4", "bframes=3:b-adapt=0:b-pyramid=none:keyint=99")
    times = decoder().decode(path, lambda _: np.array([2.0, 3.5])).times
    assert times.tolist() == [2.0, 3.5]
    # an I-frame, 9 P-frames, one of four, and at most two wanted B-frames; without leaving out all 36 come
    assert decoded["frames"] <= 12


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("people/asl_eat.mkv", True), ("people/bikes.mp4", True), ("formats/h265_10bits.mp4", False)),
        *(("formats/testsrc2_vp9.webm", False), ("a.ts", False), ("a.avi", False)),
    ],
)
def test_frames_are_left_out_where_that_is_safe(tmp_path: Path, real_clips: Path, name: str, expected: bool) -> None:
    path = real_clips / name if "/" in name else numbered(tmp_path / name)
    with opened(path) as (file, stream):
        timeline = from_packets(path, file, stream)
        assert timeline is not None
        assert sparse.can_leave_out(file, stream, timeline) is expected
        again = replace(timeline, times=np.repeat(timeline.times, 2))  # two frames at each time
        assert not sparse.can_leave_out(file, stream, again)


def test_where_frames_stray_all_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: Counter[str]
) -> None:
    path = moving(tmp_path / "a.mp4", "bframes=3:b-adapt=0:b-pyramid=none:keyint=99")
    want = slowly(path, middles(3))

    def four(*given: Any) -> Iterator[tuple[int, av.VideoFrame]]:
        yield from islice(placed(*given), 4)

    placed = sparse._placed
    monkeypatch.setattr(sparse, "_placed", four)
    np.testing.assert_array_equal(decoder().decode(path, middles(3)).images, want.images)
    assert decoded["frames"] > 30
