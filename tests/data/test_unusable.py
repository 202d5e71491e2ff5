"""Files that cannot be used: each says why, in a line."""

import os
from pathlib import Path

import numpy as np
import pytest
from numbered import decode, numbered

from vidsim.data.video import content_hash
from vidsim.errors import UnusableFile

pytestmark = pytest.mark.usefixtures("silent")


def test_broken_files_say_why(real_clips: Path) -> None:
    said = {}
    for path in sorted((real_clips / "broken").iterdir()):
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
def test_half_a_download_is_seen(real_clips: Path, tmp_path: Path, source: str, part: float) -> None:
    whole = (real_clips / source).read_bytes()
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


def test_a_damaged_middle_is_seen(tmp_path: Path, real_clips: Path) -> None:
    data = bytearray((real_clips / "people" / "bikes.mp4").read_bytes())
    rng = np.random.default_rng(0)
    data[200_000:230_000] = rng.bytes(30_000)
    (tmp_path / "a.mp4").write_bytes(data)
    expect("corrupted", tmp_path / "a.mp4")
    (tmp_path / "a.mkv").write_bytes((real_clips / "people" / "asl_no.mkv").read_bytes()[:60])
    expect("corrupted", tmp_path / "a.mkv")


def test_a_frame_of_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidsim.data.container.MOST_PIXELS", 100)
    with pytest.raises(UnusableFile, match="pixels; it is probably damaged") as caught:
        decode(numbered(tmp_path / "clip.mp4"))
    assert caught.value.kind == "too-large"
