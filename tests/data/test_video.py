"""Frames on screen at a time, whatever the file is like."""

import hashlib
import os
import weakref
from pathlib import Path

import av
import numpy as np
import pytest
from numbered import FRAMES, RATE, decode, middles, number, numbered, slowly
from numpy import ndarray

from vidsim.data.video import content_hash, decoder
from vidsim.errors import UnusableFile, VidsimError

from clips import moving_square, write_clip

pytestmark = pytest.mark.usefixtures("silent")


def test_every_format_decodes(real_clips: Path) -> None:
    files = sorted((real_clips / "formats").iterdir())
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
def test_frames_equal_those_of_a_slow_loop(real_clips: Path, name: str) -> None:
    def wanted(duration: float) -> ndarray:
        return np.concatenate([[duration, 0.0, duration / 3, duration / 3], middles(3)(duration)])

    got, want = decoder().decode(real_clips / name, wanted), slowly(real_clips / name, wanted)
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


def test_a_phone_held_upright_gives_upright_frames(real_clips: Path) -> None:
    assert decode(real_clips / "formats" / "video_90.mov").images.shape[1:] == (568, 320, 3)
    assert decode(real_clips / "formats" / "video_0.mov").images.shape[1:] == (320, 568, 3)


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


@pytest.mark.parametrize(
    ("name", "kind"),
    [("formats/h265_video.mp4", "HEVC"), ("formats/mpeg1_with_mp2_audio.mpg", "an MPEG program stream")],
)
def test_decord_is_not_asked_for_what_it_misreads(name: str, kind: str, real_clips: Path) -> None:
    pytest.importorskip("decord")
    with pytest.raises(UnusableFile, match=f"{Path(name).name}' is {kind}, misread by decord; decode it with pyav$"):
        decoder("decord").decode(real_clips / name, middles(8))


def test_decord_is_not_asked_for_avi_with_frames_out_of_order(tmp_path: Path) -> None:
    pytest.importorskip("decord")
    write_clip(tmp_path / "plain.avi", moving_square(), codec="mpeg4")
    assert len(decoder("decord").decode(tmp_path / "plain.avi", middles(4)).images) == 4
    write_clip(tmp_path / "b.avi", moving_square())
    with pytest.raises(UnusableFile, match=r"b\.avi' is an AVI with B-frames, misread by decord"):
        decoder("decord").decode(tmp_path / "b.avi", middles(4))


def test_decord_gives_the_same_frames_on_a_sane_clip(real_clips: Path) -> None:
    pytest.importorskip("decord")
    for name in ("people/asl_want.mkv", "people/part_0.mp4", "formats/video_90.mov"):
        ours, theirs = decode(real_clips / name), decoder("decord").decode(real_clips / name, middles(8))
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
