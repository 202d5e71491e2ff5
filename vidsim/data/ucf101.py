"""Action recognition splits in the layout of UCF101 (Soomro et al. 2012): lists of videos in text files."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vidsim.errors import VidsimError
from vidsim.paths import Place, expand

CLASSES = "classInd.txt"
LABELLED = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1"
PLAIN = "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"

_GROUP = re.compile(r"_(g\d+)_c\d+$", re.IGNORECASE)


@dataclass(frozen=True)
class ActionVideo:
    """Hold one listed video.

    Parameters
    ----------
    path : str
        As listed, with forward slashes: its last folder is the class.
    action : str
        Its class.
    group : str
        What it belongs to within its class, such as ``"ApplyEyeMakeup/g08"``: clips of a group are cut from one
        recording. Its own path where its name tells no group.
    """

    path: str
    action: str
    group: str


@dataclass(frozen=True)
class ActionSplit:
    """Hold a split into training and test videos.

    Parameters
    ----------
    actions : tuple of str
        All classes, in the order of their numbers.
    train, test : tuple of ActionVideo
        In the order of the lists; no video stands twice.
    """

    actions: tuple[str, ...]
    train: tuple[ActionVideo, ...]
    test: tuple[ActionVideo, ...]


def read_split(folder: Place, number: int = 1) -> ActionSplit:
    """Read a split in the layout of ``ucfTrainTestlist``.

    ``classInd.txt`` numbers the classes (``1 ApplyEyeMakeup``), ``trainlist01.txt`` holds a video and the number of its
    class a line, ``testlist01.txt`` videos alone or likewise. The folder of a video names its class.

    Parameters
    ----------
    folder : str or path
        Where the lists are.
    number : int
        Of the split, 1 to 99; UCF101 has three.

    Returns
    -------
    ActionSplit
        The split.

    Raises
    ------
    VidsimError
        If a list is missing, empty or no text; a line cannot be read; a class is unknown, or a number is not that of
        the video's folder; or a video is listed twice or on both sides. The message names file and line.
    """
    folder = expand(folder)
    if not folder.is_dir():
        raise VidsimError(f"no folder {_show(folder)}; expected one that holds {CLASSES} and trainlist{number:02}.txt")
    actions = _actions(folder / CLASSES)
    seen: dict[str, str] = {}
    train = tuple(_videos(folder / f"trainlist{number:02}.txt", actions, seen, labelled=True))
    test = tuple(_videos(folder / f"testlist{number:02}.txt", actions, seen, labelled=False))
    return ActionSplit(tuple(actions[k] for k in sorted(actions)), train, test)


def locate(videos: Sequence[ActionVideo], ids: Sequence[str], where: str) -> tuple[str, ...]:
    """Find the ids of listed videos.

    An id matches by its last folder and file name: folders before these do not matter, so that it does not matter
    either which folder was indexed; nor does case, in which copies of UCF101 differ (HandstandPushups).

    Parameters
    ----------
    videos : sequence of ActionVideo
        Wanted.
    ids : sequence of str
        To choose from.
    where : str
        Where these are, for the error.

    Returns
    -------
    tuple of str
        One per video.

    Raises
    ------
    VidsimError
        If videos are missing, or one has several ids.

    Examples
    --------
    >>> video = ActionVideo("Archery/v_Archery_g01_c01.avi", "Archery", "Archery/g01")
    >>> locate([video], ["UCF-101/Archery/v_Archery_g01_c01.avi"], "in the store")
    ('UCF-101/Archery/v_Archery_g01_c01.avi',)
    """
    places: dict[str, list[str]] = {}
    for name in ids:
        places.setdefault(_key(name), []).append(name)
    exact = set(ids)
    found: list[str] = []
    missing: list[str] = []
    for video in videos:
        there = [video.path] if video.path in exact else places.get(_key(video.path), [])
        if len(there) > 1:
            raise VidsimError(
                f"video {video.path!r} of the lists is {len(there)} stimuli {where}: {there[0]!r} and {there[1]!r}; "
                "expected one: index a single copy of the folder"
            )
        found += there
        missing += [] if there else [video.path]
    if missing:
        raise VidsimError(
            f"{len(missing)} of {len(videos)} videos of the lists are not {where}, the first is {missing[0]!r}; it has "
            f"{len(ids)} stimuli, such as {next(iter(ids), '')!r}: extract those missing, from the folder that holds "
            "the folders of the classes"
        )
    return tuple(found)


def _actions(path: Path) -> dict[int, str]:
    """Read the classes by number."""
    found: dict[int, str] = {}
    for place, line in _lines(path):
        match = re.fullmatch(r"(?P<number>[0-9]{1,9})\s+(?P<name>[^/]+)", line)
        if not match:
            raise VidsimError(f"{place}: {line[:80]!r} cannot be read; expected NUMBER CLASS, such as 1 ApplyEyeMakeup")
        number, name = int(match["number"]), match["name"]
        if number in found or name in found.values():
            raise VidsimError(f"{place}: number or class of {line[:80]!r} stands more than once; expected each once")
        found[number] = name
    return found


def _videos(path: Path, actions: dict[int, str], seen: dict[str, str], *, labelled: bool) -> Iterator[ActionVideo]:
    """Go through the videos of a list; ``seen`` gives the place of each one met."""
    known = set(actions.values())
    for place, line in _lines(path):
        match = re.fullmatch(r"(?P<video>.*\S)\s+(?P<number>[0-9]{1,9})", line)
        video, number = (match["video"], int(match["number"])) if match else (line, None)
        parts = video.split("/")
        if len(parts) < 2 or not parts[-1] or (labelled and number is None):
            expected = f"CLASS/VIDEO NUMBER, such as {LABELLED}" if labelled else f"CLASS/VIDEO, such as {PLAIN}"
            raise VidsimError(f"{place}: {line[:80]!r} cannot be read; expected {expected}")
        action = parts[-2]
        if action not in known:
            raise VidsimError(f"{place}: unknown class {action!r}, the folder of the video; {CLASSES} does not list it")
        if number is not None and actions.get(number) != action:
            raise VidsimError(
                f"{place}: the number {number} is that of {actions.get(number, 'no class')!r} in {CLASSES}, but the "
                f"video lies in {action!r}; expected the same class"
            )
        key = _key(video)
        if key in seen:
            raise VidsimError(
                f"{place}: video {video!r} stands in {seen[key]} already; expected every video once, in training or "
                "test"
            )
        seen[key] = place
        group = _GROUP.search(PurePosixPath(parts[-1]).stem)
        yield ActionVideo(video, action, f"{action}/{group[1].lower()}" if group else video)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Go through the lines that are not blank, each with its place for an error message."""
    try:
        if path.exists() and not path.is_file():
            raise VidsimError(f"{_show(path)} is no file; expected a list in text")
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise VidsimError(f"no file {_show(path)}; expected the layout of UCF101's ucfTrainTestlist folder") from None
    except UnicodeDecodeError as error:
        raise VidsimError(f"{_show(path)} is not text in UTF-8 ({error.reason}); save it as UTF-8") from None
    except OSError as error:
        raise VidsimError(f"{_show(path)} cannot be read: {error.strerror}") from None
    if not any(line.strip() for line in lines):
        raise VidsimError(f"{_show(path)} is empty; expected a line per video or class")
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield f"{_show(path)} line {number}", line.strip()


def _key(path: str) -> str:
    """Reduce a path to its last folder and file name, without case."""
    return "/".join(path.split("/")[-2:]).casefold()


def _show(path: Path) -> str:
    return repr(path.as_posix())
