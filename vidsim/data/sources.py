"""Sources of stimuli: a folder of videos, a single one, or a table."""

import errno
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

from vidsim.data.cells import TABLE_SUFFIXES, read_cells
from vidsim.data.stimuli import Stimulus, StimulusSet, refuse_twins
from vidsim.errors import VidsimError
from vidsim.paths import Place, expand

VIDEO_SUFFIXES = frozenset(
    {
        *(
            ".3g2",
            ".3gp",
            ".asf",
            ".avi",
            ".f4v",
            ".flv",
            ".gif",
            ".m2ts",
            ".m2v",
            ".m4v",
            ".mkv",
            ".mov",
            ".mp4",
            ".mpeg",
        ),
        *(".mpg", ".mts", ".mxf", ".ogv", ".vob", ".webm", ".wmv", ".y4m"),
    }
)
"""Suffixes by which a folder's videos are known, in any case; ``all_files`` tries every file instead."""


def from_folder(folder: Place, *, all_files: bool = False, exclude: Collection[Path] = ()) -> StimulusSet:
    """Find the videos below a folder.

    Links are followed, each folder once, so link loops end. Hidden files and folders are passed over unless
    ``all_files``. The id of a stimulus is its path relative to ``folder``, with forward slashes.

    Parameters
    ----------
    folder : str or path
        Where to look, at any depth; or one video file.
    all_files : bool
        Try every file, whatever its suffix.
    exclude : collection of Path
        Folders to leave out: those of the artefact root, should they lie inside.

    Returns
    -------
    StimulusSet
        Stimuli in the order of their ids.

    Raises
    ------
    VidsimError
        If the folder is missing, unreadable, or holds no videos.
    """
    folder = expand(folder)
    if folder.is_file():
        return StimulusSet((Stimulus(folder.name, folder.resolve()),), named=False)
    try:
        os.fspath(folder.resolve()).encode()
    except UnicodeEncodeError:
        raise VidsimError(f"the name of the folder {_show(folder)} is not valid UTF-8; rename it") from None
    if not folder.is_dir():
        raise VidsimError(
            f"no folder {_show(folder)}: expected a folder of videos, a video, or a .csv or .parquet table"
        )
    unreadable: list[tuple[Path, str]] = []
    stimuli: list[Stimulus] = []
    for path, relative in _walk(folder.resolve(), {place.resolve() for place in exclude}, all_files, unreadable):
        if not all_files and path.suffix.lower() not in VIDEO_SUFFIXES:
            continue
        try:
            relative.encode()
        except UnicodeEncodeError:
            unreadable.append((path, "the name is not valid UTF-8; rename the file"))
            continue
        stimuli.append(Stimulus(relative, path))
    if not stimuli and not unreadable:
        wanted = "files" if all_files else "videos (*" + ", *".join(sorted(VIDEO_SUFFIXES)) + ")"
        hint = "" if all_files else "; --all-files tries every file"
        raise VidsimError(f"no {wanted} in {_show(folder)}{hint}")
    if not stimuli and any(path == folder.resolve() for path, _ in unreadable):
        raise VidsimError(f"cannot list {_show(folder)}: {unreadable[0][1]}")
    return StimulusSet(tuple(sorted(stimuli, key=lambda s: s.id)), named=False, unreadable=tuple(unreadable))


def from_table(path: Place, columns: Mapping[str, str] | None = None) -> StimulusSet:
    """Read stimuli from a CSV, TSV or Parquet table.

    Columns: ``id`` (required), ``path`` (relative paths start at the table's folder), ``caption``, ``split``; every
    other column of numbers is a rating, of texts a tag. A stimulus with several captions has one row a caption; path
    and split must then agree, and its ratings and tags are those of its first row.

    Parameters
    ----------
    path : str or path
        The table, with a header.
    columns : mapping of str to str, optional
        What the table calls its columns, where it has names of its own: ``{"id": "video_name"}``.

    Returns
    -------
    StimulusSet
        Stimuli in the order in which their ids first appear.

    Raises
    ------
    VidsimError
        If the table cannot be read, has no ``id`` column, neither paths nor captions, or contradicts itself; the
        message names file, line (of Parquet: row) and column.
    """
    path = expand(path)
    table = read_cells(path, columns)
    cells = table.columns
    listed = ", ".join(map(repr, cells)) or "none"
    if "id" not in cells:
        raise VidsimError(
            f"{_show(path)}: no column 'id'; the columns are {listed}; --columns id=NAME says which it is"
        )
    if "path" not in cells and "caption" not in cells:
        raise VidsimError(f"{_show(path)}: expected a column 'path' or 'caption'; the columns are {listed}")
    ratings, others = table.rated()
    tag_names = [
        name for name, odd in others.items() if odd is not None and any(isinstance(v, str) for v in cells[name])
    ]
    base = path.resolve().parent
    merged: dict[str, Stimulus] = {}
    for row, raw in enumerate(cells["id"]):
        name = _text(raw)
        if not name:
            raise VidsimError(f"{_show(path)} {table.place(row)}: no id; every row needs one")
        place = _text(cells["path"][row]) if "path" in cells else ""
        if "\0" in place or "\0" in name:
            raise VidsimError(f"{_show(path)} {table.place(row)}: a NUL character; expected text")
        caption = _text(cells["caption"][row]) if "caption" in cells else ""
        stimulus = Stimulus(
            name,
            _file(base, place) if place else None,
            (caption,) if caption else (),
            {rating: values[row] for rating, values in ratings.items()},
            (_text(cells["split"][row]) or None) if "split" in cells else None,
            {tag: word for tag in tag_names if (word := _text(cells[tag][row]))},
        )
        known = merged.get(name)
        if known is None:
            merged[name] = stimulus
            continue
        for what, old, new in (("path", known.path, stimulus.path), ("split", known.split, stimulus.split)):
            if old != new:
                raise VidsimError(
                    f"{_show(path)} {table.place(row)}: id {name!r} has {what} {new!s}, earlier {old!s}; expected one"
                )
        merged[name] = replace(known, captions=known.captions + stimulus.captions)
    if not merged:
        raise VidsimError(f"{_show(path)}: the table has a header but no rows")
    refuse_twins(merged, _show(path), lambda name: table.place([_text(raw) for raw in cells["id"]].index(name)))
    notes = tuple(f"{_show(path)}: {doubt}" for doubt in table.doubts())
    return StimulusSet(tuple(merged.values()), name=path.stem, notes=notes)


def from_source(
    source: Place, *, all_files: bool = False, exclude: Collection[Path] = (), columns: Mapping[str, str] | None = None
) -> StimulusSet:
    """Read stimuli from whatever ``source`` is: a folder, a table, or a single video."""
    source = expand(source)
    if source.suffix.lower() in TABLE_SUFFIXES and not source.is_dir():
        return from_table(source, columns)
    if columns:
        raise VidsimError(f"--columns goes with a table (.csv, .tsv, .parquet); {_show(source)} is none")
    return from_folder(source, all_files=all_files, exclude=exclude)


def _walk(
    folder: Path, exclude: Collection[Path], hidden: bool, unreadable: list[tuple[Path, str]]
) -> Iterable[tuple[Path, str]]:
    visited: set[tuple[int, int]] = set()
    folders: list[tuple[Path, str]] = [(folder, "")]
    links: list[tuple[Path, str]] = []  # last: a folder keeps its own name if a link leads to it too
    while folders or links:
        place, prefix = (folders or links).pop()
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in visited or place in exclude:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(place) as listing:
                items = sorted(listing, key=lambda item: item.name)
        except OSError as error:
            unreadable.append((place, f"cannot list the folder: {error.strerror}"))
            continue
        for item in items:
            if item.name.startswith(".") and not hidden:
                continue
            path = Path(item.path)
            try:
                kind = _kind(item)
            except OSError as error:
                kind = None
                if hidden or path.suffix.lower() in VIDEO_SUFFIXES:
                    unreadable.append((path, f"cannot be looked at: {error.strerror}"))
            if kind == "folder":
                (links if item.is_symlink() else folders).append((path, f"{prefix}{item.name}/"))
            elif kind == "file":
                yield path, prefix + item.name


def _kind(item: "os.DirEntry[str]") -> str | None:
    """Tell folders from files; a broken link is a file, to be told of; pipes and devices are neither."""
    try:
        if item.is_dir():
            return "folder"
        broken = item.is_symlink() and not Path(item.path).exists()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "file"
        raise
    return "file" if broken or item.is_file() else None


def _file(base: Path, place: str) -> Path:
    """Find a table's file, whose name may have another Unicode form: those of macOS are often decomposed."""
    path = (base / place).resolve()
    if place.isascii() or os.access(path, os.F_OK):
        return path
    others = ((base / normalize(form, place)).resolve() for form in ("NFC", "NFD"))
    return next((other for other in others if os.access(other, os.F_OK)), path)


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _show(path: Path) -> str:
    return repr(os.fspath(path))
