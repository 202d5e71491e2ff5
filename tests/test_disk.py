import errno
import os

import pytest

from vidsim.disk import NO_ROOM, number_of, reason, refused, remedy


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.EDQUOT, "Disk quota exceeded"), errno.EDQUOT),
        (RuntimeError("lance error: LanceError(IO): no room (os error 28), /x.rs:1"), errno.ENOSPC),
        (RuntimeError("lance error: Read-only file system"), errno.EROFS),
        (RuntimeError("External error: File too large"), errno.EFBIG),
        (RuntimeError("something else (os error)"), None),
    ],
)
def test_whoever_tells_it_the_number_is_found(error, number):
    assert number_of(error) == number


def test_a_server_that_denies_is_no_disk():
    assert not refused(OSError("403: permission denied"))
    assert not refused(RuntimeError("No space left on device (os error 28)"))
    assert not refused(OSError(errno.EIO, "Input/output error"))
    assert refused(OSError(errno.EPERM, "Operation not permitted"))
    assert all(refused(OSError(number, "no")) for number in NO_ROOM)


def test_what_has_no_words_of_ours_keeps_those_of_the_system():
    assert reason(OSError(errno.EROFS, "x")) == "the disk is read-only"
    assert reason(OSError(errno.EIO, os.strerror(errno.EIO))) == "Input/output error"
    assert reason(OSError("no number")) == "no number"
    assert remedy(OSError(errno.EDQUOT, "x")) == "make room"
    assert remedy(RuntimeError("permission denied")) == "make it writable"
