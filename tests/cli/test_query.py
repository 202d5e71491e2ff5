from pathlib import PurePosixPath
from types import SimpleNamespace

import pytest

from vidsim.cli.query import find_row
from vidsim.errors import VidsimError

IDS = (
    "bikes.mp4",
    "holiday/dogs.mp4",
    "2020/holiday/cats.v2.mp4",
    "v1/a.mp4",
    "v1.2/b",
    "x/same.mp4",
    "y/same.avi",
    "c+",
)


def index(ids=IDS):
    return SimpleNamespace(ids=ids, find=lambda _, name: ids.index(name) if name in ids else None)


@pytest.mark.parametrize("name", IDS)
def test_an_id_is_known_by_its_end_with_or_without_suffix(name):
    path = PurePosixPath(name)
    tails = [PurePosixPath(*path.parts[start:]) for start in range(len(path.parts))]
    for end in {form for tail in tails for form in (tail.as_posix(), tail.with_suffix("").as_posix())}:
        if end == "same":
            with pytest.raises(VidsimError, match=r"'same' fits 2 ids, such as 'x/same\.mp4' and 'y/same\.avi'"):
                find_row(index(), end)
        else:
            assert find_row(index(), end) == IDS.index(name)


@pytest.mark.parametrize(
    "query", ["ikes", "bikes.mp", "holiday", "day/dogs", "v1", "cats", "c", ".*", "holiday/dogs.avi"]
)
def test_no_other_part_of_an_id_is(query):
    with pytest.raises(VidsimError, match="is neither an indexed id nor a video file"):
        find_row(index(), query)
