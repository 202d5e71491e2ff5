import re

import pytest

from vidsim.data.ucf101 import ActionVideo, locate, read_split
from vidsim.errors import VidsimError

FILES = {
    "classInd.txt": "1 ApplyEyeMakeup\r\n2 Archery\r\n37 HandstandPushups\r\n",
    "trainlist01.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\r\nArchery/v_Archery_g08_c01.avi 2\r\n"
    "HandstandPushups/v_HandStandPushups_g25_c04.avi 37\r\n",
    "testlist01.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\r\n\r\nArchery/v_Archery_g01_c02.avi\r\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def test_the_lists_as_they_are_published(folder):
    split = read_split(folder)
    assert split.actions == ("ApplyEyeMakeup", "Archery", "HandstandPushups")
    assert [video.path for video in split.train] == [
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi",
        "Archery/v_Archery_g08_c01.avi",
        "HandstandPushups/v_HandStandPushups_g25_c04.avi",
    ]
    assert [video.action for video in split.train] == list(split.actions)
    assert [video.group for video in split.train] == ["ApplyEyeMakeup/g08", "Archery/g08", "HandstandPushups/g25"]
    assert [(video.action, video.group) for video in split.test] == [
        ("ApplyEyeMakeup", "ApplyEyeMakeup/g01"),
        ("Archery", "Archery/g01"),
    ]


def test_other_splits_and_habits(folder):
    (folder / "classInd.txt").write_text("\ufeff1\tride a bike\n2 Archery", encoding="utf-8")
    (folder / "trainlist03.txt").write_text("UCF-101/ride a bike/my clip 7.avi   1\nArchery/v_Archery_g02_c01.mp4 2")
    (folder / "testlist03.txt").write_text("/data/Archery/v_Archery_g03_c01.avi 2\nride a bike/my clip 8.avi\n")
    split = read_split(folder, 3)
    assert [(video.action, video.group) for video in (*split.train, *split.test)] == [
        ("ride a bike", "UCF-101/ride a bike/my clip 7.avi"),  # no group in the name: a group of its own
        ("Archery", "Archery/g02"),
        ("Archery", "Archery/g03"),
        ("ride a bike", "ride a bike/my clip 8.avi"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classInd.txt", None, "no file '.*classInd.txt'; expected the layout"),
        ("trainlist01.txt", None, "no file '.*trainlist01.txt'"),
        ("testlist01.txt", " \n", "testlist01.txt' is empty"),
        ("classInd.txt", "1 A\nB 2\n", r"classInd.txt' line 2: 'B 2' cannot be read; expected NUMBER CLASS"),
        ("classInd.txt", "1\n", "line 1: '1' cannot be read"),
        ("classInd.txt", "9" * 5000 + " A\n", "line 1: '9+' cannot be read"),
        ("classInd.txt", "1 A\n\n1 B\n", "line 3: number or class of '1 B' stands more than once"),
        ("classInd.txt", "1 A\n2 A\n", "line 2: number or class of '2 A' stands more than once"),
        (
            "trainlist01.txt",
            "Archery/a.avi 2\nArchery/b.avi\n",
            "line 2: 'Archery/b.avi' cannot be read; expected CLASS/",
        ),
        (
            "trainlist01.txt",
            "a.avi 2\n",
            "line 1: 'a.avi 2' cannot be read; expected CLASS/VIDEO NUMBER",
        ),
        ("testlist01.txt", "a.avi\n", "line 1: 'a.avi' cannot be read; expected CLASS/VIDEO, such as"),
        ("testlist01.txt", "Archery/\n", "line 1: 'Archery/' cannot be read"),
        ("testlist01.txt", "Arch/a.avi\n", r"testlist01.txt' line 1: unknown class 'Arch'.*classInd.txt does not list"),
        (
            "trainlist01.txt",
            "Archery/a.avi 1\n",
            "line 1: the number 1 is that of 'ApplyEyeMakeup'.* lies in 'Archery'",
        ),
        ("trainlist01.txt", "Archery/a.avi 9\n", "the number 9 is that of 'no class'"),
        (
            "trainlist01.txt",
            "Archery/a.avi 2\nArchery/a.avi 2\n",
            "line 2: video .* stands in .*trainlist01.txt' line 1",
        ),
        (
            "testlist01.txt",
            "Archery/x.avi\nucf/archery/v_archery_g08_c01.avi\n",
            "line 2: unknown class 'archery'",
        ),
        (
            "testlist01.txt",
            "x/Archery/v_Archery_G08_c01.avi\n",
            r"line 1: video .* stands in .*trainlist01.txt' line 2",
        ),
        ("trainlist01.txt", b"\xff\xfe\x00", "is not text in UTF-8"),
    ],
)
def test_bad_lists_name_file_and_line(folder, name, text, message):
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(VidsimError, match=message) as raised:
        read_split(folder)
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(VidsimError, match=r"expected one that holds classInd.txt and trainlist02.txt"):
        read_split(tmp_path / "none", 2)
    (tmp_path / "classInd.txt").mkdir()
    with pytest.raises(VidsimError, match=r"classInd.txt' is no file"):
        read_split(tmp_path)


def video(path):
    return ActionVideo(path, path.split("/")[-2], path)


def test_ids_are_found_whatever_folder_was_indexed():
    videos = [video("Archery/v_Archery_g01_c01.avi"), video("HandstandPushups/v_HandStandPushups_g25_c04.avi")]
    for prefix in ("", "UCF-101/", "data/ucf/"):
        ids = [
            f"{prefix}HandstandPushups/v_HandstandPushups_g25_c04.avi",
            f"{prefix}Archery/v_Archery_g01_c02.avi",
            f"{prefix}Archery/v_Archery_g01_c01.avi",
        ]
        assert locate(videos, ids, "in 'x'") == (ids[2], ids[0])
    assert locate([video("UCF-101/Archery/a.avi")], ["Archery/a.avi"], "in 'x'") == ("Archery/a.avi",)
    both = ["copy/Archery/a.avi", "Archery/a.avi"]
    assert locate([video("Archery/a.avi")], both, "in 'x'") == ("Archery/a.avi",)


def test_videos_without_one_id_are_refused():
    videos = [video("Archery/a.avi"), video("Archery/b.avi"), video("Archery/c.avi")]
    message = (
        "2 of 3 videos of the lists are not in 'x', the first is 'Archery/b.avi'; it has 2 stimuli, such as 'a.avi'"
    )
    with pytest.raises(VidsimError, match=re.escape(message)):
        locate(videos, ["a.avi", "d/Archery/a.avi"], "in 'x'")
    with pytest.raises(VidsimError, match=r"is 2 stimuli in 'x': 'one/Archery/a.avi' and 'two/Archery/a.avi'"):
        locate(videos[:1], ["one/Archery/a.avi", "two/Archery/a.avi"], "in 'x'")
