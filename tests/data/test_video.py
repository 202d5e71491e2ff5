"""Frames on screen at a time, and truthful reasons where there are none."""

import hashlib
import os
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet
from numpy import ndarray

from vidsim.data import pyav, sparse
from vidsim.data.container import frames as every_frame
from vidsim.data.container import opened
from vidsim.data.timeline import from_packets
from vidsim.data.video import Frames, content_hash, decoder
from vidsim.errors import UnusableFile, VidsimError

RATE = 10
FRAMES = 36


def middles(count: int) -> Callable[[float], ndarray]:
    return lambda duration: (np.arange(count) + 0.5) / count * duration


def decode(path: Path, count: int = 8) -> Frames:
    return decoder().decode(path, middles(count))


def numbered(
    path: Path,
    codec: str = "libx264",
    *,
    form: str | None = None,
    b_frames: int = 2,
    stamps: list[int] | None = None,
    turn: int | None = None,
) -> Path:
    """Write a video whose k-th frame has luma 20 + 6 k, a tenth of a second each, or at the given hundredths."""
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=25 if codec == "mpeg2video" else RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.gop_size = 12
        if stamps:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 100)
        if codec == "libx264":
            stream.options = {"x264-params": f"bframes={b_frames}:b-adapt=0", "qp": "4"}
        else:
            stream.bit_rate, stream.options = 4_000_000, {"qmin": "1", "qmax": "2"}
        if turn is not None:
            stream.set_display_rotation(turn)
        for k in range(len(stamps) if stamps else FRAMES):
            planes = np.full((72, 64), 128, np.uint8)
            planes[:48] = 20 + 6 * k
            planes[:24, :16] = 16  # a dark top left corner, to see rotation by
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = stamps[k] if stamps else k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def number(image: ndarray) -> int:
    """Read a frame's number off its middle (limited range: luma 16 is black, 235 white)."""
    return round((float(image[24, 40].mean()) * 219 / 255 + 16 - 20 + 0.8) / 6)


def slowly(path: Path, wanted: Callable[[float], ndarray]) -> Frames:
    """Decode every frame into memory and look each moment up in turn."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    tick = frames[0].time_base
    stamps = [float((frame.pts - frames[0].pts) * tick) for frame in frames]
    duration = stamps[-1] + float(frames[-1].duration * tick)
    chosen = []
    for moment in wanted(duration):
        best = 0
        for k, stamp in enumerate(stamps):
            if stamp <= moment + 1e-6:
                best = k
        chosen.append(best)
    images = np.stack([frames[k].to_ndarray(format="rgb24") for k in chosen])
    return Frames(images, np.array([stamps[k] for k in chosen]), duration)


@pytest.fixture
def clips(shared: Path) -> Path:
    return shared / "data" / "clips"


@pytest.fixture(autouse=True)
def _silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    assert capfd.readouterr().err == ""


def test_every_format_decodes(clips: Path) -> None:
    files = sorted((clips / "formats").iterdir())
    assert len(files) == 24
    for path in files:
        frames = decode(path, 4)
        assert frames.images.dtype == np.uint8
        assert frames.images.shape[0] == 4
        assert frames.images.shape[3] == 3
        assert frames.duration > 0
        assert (np.diff(frames.times) >= 0).all()
        assert (frames.times <= frames.duration).all()


def test_every_person_decodes(people: Path) -> None:
    files = sorted(people.iterdir())
    assert len(files) == 27
    for path in files:
        assert len(decode(path, 2).images) == 2


@pytest.mark.parametrize(
    "name",
    [
        *("people/asl_eat.mkv", "people/part_0.mp4", "people/spatiotemporal.mp4", "people/carphone.mp4"),
        *("formats/mpeg1_with_mp2_audio.mpg", "formats/test_non_zero_start.mp4", "formats/discard_first_keyframe.mp4"),
        *("formats/nasa_13013.mp4", "formats/no_duration.webm", "formats/unordered.mov", "formats/animated.gif"),
        *("formats/h265_10bits.mp4", "formats/transparent.webm", "formats/video_with_failing_audio.mp4"),
    ],
)
def test_frames_equal_those_of_a_slow_loop(clips: Path, name: str) -> None:
    def wanted(duration: float) -> ndarray:
        return np.concatenate([[duration, 0.0, duration / 3, duration / 3], middles(3)(duration)])

    got, want = decoder().decode(clips / name, wanted), slowly(clips / name, wanted)
    np.testing.assert_array_equal(got.images, want.images)
    np.testing.assert_allclose(got.times, want.times, atol=1e-9)
    assert got.duration == pytest.approx(want.duration)


@pytest.mark.parametrize(
    ("name", "codec", "form"),
    [
        *(("a.mp4", "libx264", None), ("a.mkv", "libx264", None), ("a.ts", "libx264", None), ("a.mov", "mpeg4", None)),
        *(("mpeg4.avi", "mpeg4", None), ("h264.avi", "libx264", None), ("a.mpg", "mpeg2video", None)),
        *(("raw.h264", "libx264", "h264"), ("raw.m2v", "mpeg2video", "mpeg2video"), ("a.flv", "flv", None)),
    ],
)
def test_frame_numbers_are_right_with_b_frames(tmp_path: Path, name: str, codec: str, form: str | None) -> None:
    path = numbered(tmp_path / name, codec, form=form, b_frames=0 if codec == "flv" else 2)
    frames = decode(path, FRAMES)
    assert [number(image) for image in frames.images] == list(range(FRAMES))
    rate = 25 if codec == "mpeg2video" else RATE
    if form == "h264":  # carries no clock: FFmpeg assumes 25 frames a second
        rate = 25
    np.testing.assert_allclose(frames.times, np.arange(FRAMES) / rate, atol=1.1e-3)
    assert frames.duration == pytest.approx(FRAMES / rate, abs=2e-3)


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


def moving(path: Path, structure: str) -> Path:
    """Write a scene that moves by a pixel a frame, so that frames are made from others as x264 is told."""
    scene = np.random.default_rng(1).integers(0, 256, (64, 128, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"x264-params": structure, "crf": "30"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for k in range(FRAMES):
            image = np.ascontiguousarray(scene[:, k : k + 64])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


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
def test_frames_are_left_out_where_that_is_safe(tmp_path: Path, clips: Path, name: str, expected: bool) -> None:
    path = clips / name if "/" in name else numbered(tmp_path / name)
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


def test_variable_rate_goes_by_time_not_by_count(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.mkv", stamps=[0, 10, 20, 200, 210, 400, 405], b_frames=0)
    moments = np.array([0.05, 0.1, 1.99, 2.0, 3.9, 4.04, 4.1, 99.0, -1.0])
    frames = decoder().decode(path, lambda _: moments)
    assert [number(image) for image in frames.images] == [0, 1, 2, 3, 4, 5, 6, 6, 0]
    np.testing.assert_allclose(frames.times, [0, 0.1, 0.2, 2.0, 2.1, 4.0, 4.05, 4.05, 0])


def test_slots_keep_their_order_and_each_frame_is_transformed_once(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.mp4")
    moments = np.array([2.0, 0.5, 2.0, 0.55, 3.0])
    seen: list[weakref.ref[ndarray]] = []

    def transform(image: ndarray) -> ndarray:
        assert sum(ref() is not None for ref in seen) <= 1  # the frame before may linger, no more
        seen.append(weakref.ref(image))
        return np.array([number(image)])

    frames = decoder().decode(path, lambda _: moments, transform)
    assert frames.images.ravel().tolist() == [20, 5, 20, 5, 30]
    assert len(seen) == 3


def test_tensors_are_stacked_as_tensors(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    frames = decoder().decode(numbered(tmp_path / "a.mp4"), middles(3), lambda image: torch.from_numpy(image.copy()))
    assert torch.equal(frames.images, torch.from_numpy(decode(tmp_path / "a.mp4", 3).images))


@pytest.mark.parametrize("turn", [0, 90, 180, -90])
def test_rotation_is_applied(tmp_path: Path, turn: int) -> None:
    path = numbered(tmp_path / "a.mp4", turn=turn)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        stored, counterclockwise = frame.to_ndarray(format="rgb24"), frame.rotation
    assert abs(counterclockwise) == abs(turn)
    np.testing.assert_array_equal(decode(path, 1).images.shape[1:], np.rot90(stored, turn // 90).shape)
    first = decoder().decode(path, lambda _: np.zeros(1)).images[0]
    np.testing.assert_array_equal(first, np.rot90(stored, counterclockwise // 90))


def test_a_phone_held_upright_gives_upright_frames(clips: Path) -> None:
    assert decode(clips / "formats" / "video_90.mov").images.shape[1:] == (568, 320, 3)
    assert decode(clips / "formats" / "video_0.mov").images.shape[1:] == (320, 568, 3)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("matrix", "red", "blue"), [(1, 0.2126, 0.0722), (6, 0.299, 0.114), (9, 0.2627, 0.0593)])
def test_colours_follow_the_formula(tmp_path: Path, matrix: int, red: float, blue: float, full: bool) -> None:
    """ITU-T H.273: R = Y + 2 (1 - Kr) V, B = Y + 2 (1 - Kb) U, Y = Kr R + Kg G + Kb B."""
    rng = np.random.default_rng(0)
    luma, u, v = (rng.integers(low, high, (8, 8)) for low, high in ((40, 220), (90, 166), (90, 166)))
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 128, 128, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        parts = [np.kron(p, np.ones((n, n))).astype(np.uint8) for p, n in ((luma, 16), (u, 8), (v, 8))]
        frame = av.VideoFrame.from_ndarray(np.concatenate([p.ravel() for p in parts]).reshape(192, 128), "yuv420p")
        frame.colorspace, frame.color_range, frame.pts = matrix, 2 if full else 1, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    y, cb, cr = luma - (0 if full else 16), u - 128.0, v - 128.0
    y, cb, cr = y / (255 if full else 219), cb / (255 if full else 224), cr / (255 if full else 224)
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    want = np.clip(255 * np.stack([r, (y - red * r - blue * b) / (1 - red - blue), b], axis=-1), 0, 255)
    got = decode(path, 1).images[0][8::16, 8::16]
    assert np.abs(got - want).max() < 3  # swscale's quick path rounds down at three places
    assert np.abs(got - want).mean() < 1.5


def test_unstated_colours_are_read_as_bt601_limited(tmp_path: Path) -> None:
    frames = decode(numbered(tmp_path / "a.mp4"), FRAMES).images[:, 24, 40].mean(axis=-1)
    np.testing.assert_allclose(frames, (4 + 6 * np.arange(FRAMES)) * 255 / 219, atol=2.5)


def test_broken_files_say_why(clips: Path) -> None:
    said = {}
    for path in sorted((clips / "broken").iterdir()):
        with pytest.raises(UnusableFile) as caught:
            decode(path)
        said[path.name] = caught.value.kind
        assert repr(str(path)) in caught.value.reason
        assert "\n" not in caught.value.reason
    assert said == {
        "audio_only.mp4": "audio-only",
        "corrupted.mp4": "corrupted",
        "text_named.mp4": "not-a-video",
        "truncated.mkv": "truncated",
        "truncated.mp4": "no-index",
        "zero_bytes.webm": "empty",
    }


def expect(kind: str, path: Path) -> str:
    with pytest.raises(UnusableFile) as caught:
        decode(path)
    assert caught.value.kind == kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "source", ["people/chaplin.mp4", "people/asl_walk.mkv", "formats/testsrc2_mpeg4.avi", "formats/av1_video.mkv"]
)
@pytest.mark.parametrize("part", [0.3, 0.75])
def test_half_a_download_is_seen(clips: Path, tmp_path: Path, source: str, part: float) -> None:
    whole = (clips / source).read_bytes()
    path = tmp_path / Path(source).name
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(UnusableFile) as caught:
        decode(path)
    assert caught.value.kind in {"truncated", "no-index"}


def test_a_picture_or_a_pipe_or_a_folder_is_no_video(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "a.png")
    expect("not-a-video", tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.mp4")
    expect("not-a-file", tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    expect("directory", tmp_path / "folder.mp4")


def test_what_the_system_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expect("missing", tmp_path / "gone.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    expect("missing", tmp_path / "link.mp4")
    path = numbered(tmp_path / "a.mp4")
    for error, kind in (
        (PermissionError(13, "Permission denied"), "permission"),
        (OSError(5, "Input/output"), "unreadable"),
    ):

        def refuse(*_: object, error: OSError = error, **__: object) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", refuse)
            expect(kind, path)
            with pytest.raises(UnusableFile):
                content_hash(path)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9.0,\n{target}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile 'target.mp4'\n",
        "ffconcat version 1.0\nfile '{target}'\n",
    ],
)
def test_a_playlist_does_not_reach_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    target = numbered(tmp_path / "target.mp4")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "list.mp4"
    path.write_text(text.format(target=target))
    expect("playlist", path)
    path.write_text("\n" + text.format(target=target))
    expect("not-a-video", path)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "-dash.mp4",
            "with space.mp4",
            "new\nline.mp4",
            "quo'te\".mp4",
            "ünï→.mp4",
            "no suffix",
            "wrong.txt",
            "%03d.png",
        ),
        *("http:x.mp4", "concat:a|b", "file:a.mp4", "a.m3u8", "subfile,,start,0,end,9,,:a.mp4"),
    ],
)
def test_names_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    numbered(tmp_path / "plain.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert number(decode(Path(name), 1).images[0]) == FRAMES // 2


def test_a_damaged_middle_is_seen(tmp_path: Path, clips: Path) -> None:
    data = bytearray((clips / "people" / "bikes.mp4").read_bytes())
    rng = np.random.default_rng(0)
    data[200_000:230_000] = rng.bytes(30_000)
    (tmp_path / "a.mp4").write_bytes(data)
    expect("corrupted", tmp_path / "a.mp4")
    (tmp_path / "a.mkv").write_bytes((clips / "people" / "asl_no.mkv").read_bytes()[:60])
    expect("corrupted", tmp_path / "a.mkv")


def test_sound_may_outlast_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        for k in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((72, 64), 128, np.uint8), format="yuv420p")
            frame.pts = k
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for k in range(40):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
            sound.sample_rate, sound.pts = 8000, 800 * k
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    assert decode(path).duration == pytest.approx(1.0)
    # the same without the video's own duration: only the container's is left, which is the sound's
    path.write_bytes(path.read_bytes().replace(b"DURATION", b"DURATIOM"))
    assert decode(path).duration == pytest.approx(1.0)


def test_content_hash_is_of_the_bytes_alone(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(data)
    assert content_hash(tmp_path / "a") == hashlib.blake2b(data, digest_size=16).hexdigest()
    (tmp_path / "a").rename(tmp_path / "b")
    assert content_hash(tmp_path / "b") == hashlib.blake2b(data, digest_size=16).hexdigest()
    (tmp_path / "b").write_bytes(data[:-1])
    assert content_hash(tmp_path / "b") != hashlib.blake2b(data, digest_size=16).hexdigest()


def test_decord_gives_the_same_frames_on_a_sane_clip(clips: Path) -> None:
    pytest.importorskip("decord")
    for name in ("people/asl_want.mkv", "people/part_0.mp4", "formats/video_90.mov"):
        ours, theirs = decode(clips / name), decoder("decord").decode(clips / name, middles(8))
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_allclose(ours.times, theirs.times, atol=1e-6)
        assert theirs.duration == pytest.approx(ours.duration, abs=1e-3)


def test_an_unknown_decoder_gets_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VidsimError, match="did you mean 'pyav'"):
        decoder("pyaw")
    with pytest.raises(VidsimError, match="expected one of pyav, decord"):
        decoder("xyz")
    monkeypatch.setitem(__import__("sys").modules, "decord", None)
    with pytest.raises(VidsimError, match=r"pip install 'vidsim\[decord\]'"):
        decoder("decord")


def titled(path: Path, title: str) -> Path:
    """Write a short video whose container carries a title."""
    with av.open(str(path), "w") as container:
        container.metadata["title"] = title
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((72, 64), 20 * k, np.uint8), "yuv420p")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "avi", "flv"])
def test_metadata_that_is_not_utf8_does_not_matter(tmp_path: Path, suffix: str) -> None:
    path = titled(tmp_path / f"clip.{suffix}", "cafe")
    plain = decode(path).images
    content = path.read_bytes()
    assert b"cafe" in content
    path.write_bytes(content.replace(b"cafe", b"caf\xe9"))
    np.testing.assert_array_equal(decode(path).images, plain)


@pytest.mark.parametrize("flags", [0, 1])
def test_streams_that_appear_while_reading_do_not_matter(tmp_path: Path, flags: int) -> None:
    path = tmp_path / "late.flv"
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("libx264", rate=RATE), container.add_stream("aac", rate=44100)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for k in range(100):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.full((72, 64), 2 * k, np.uint8), "yuv420p")))
        container.mux(video.encode(None))
        for k in range(20):  # sound from the ninth second on
            sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            sound.sample_rate, sound.pts = 44100, 9 * 44100 + 1024 * k
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    announced = decode(path, 5)
    content = bytearray(path.read_bytes())
    content[4] = flags  # the header promises no sound
    path.write_bytes(content)
    np.testing.assert_array_equal(decode(path, 5).images, announced.images)


def test_a_frame_of_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidsim.data.container.MOST_PIXELS", 100)
    with pytest.raises(UnusableFile, match="pixels; it is probably damaged") as caught:
        decode(titled(tmp_path / "clip.mp4", "a"))
    assert caught.value.kind == "too-large"
