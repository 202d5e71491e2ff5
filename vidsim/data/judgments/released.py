"""The Social-OOO release: a folder with trials, ids, captions, ratings and splits, some of which may be missing."""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

from vidsim.data.judgments.judgments import Judgments
from vidsim.data.judgments.table import read_table
from vidsim.data.judgments.text import Delimited, read_whole, show
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.errors import VidsimError
from vidsim.paths import Place, expand

TRIALS = Path("interim", "similarity")
STIMULI = Path("raw", "utils")
RATING = "rating-"


def base_of(folder: Path) -> Path | None:
    """Find the folder that holds ``interim`` and ``raw``: the release itself or its ``data``; None if it is neither."""
    places = (folder, folder / "data")
    return next((p for p in places if (p / TRIALS).is_dir() or (p / STIMULI).is_dir()), None)


def read_release(folder: Place) -> tuple[Judgments, StimulusSet | None]:
    """Read a release in its directory layout.

    Trials come from ``all_triplets.csv``, else from ``train_triplets.csv`` and ``test_triplets.csv``. Ids are the file
    names of ``video_mapping.csv``, else the numbers of the trial files. Captions come from ``captions.csv`` in the
    order of ``caption_index``, else from ``annotations.csv``; ratings from ``annotations.csv``; the split from
    ``train.csv`` and ``test.csv``, else from ``annotations.csv``.

    Parameters
    ----------
    folder : str or path
        The release, or its ``data``.

    Returns
    -------
    tuple of Judgments and StimulusSet or None
        None where the release says nothing of the stimuli.

    Raises
    ------
    VidsimError
        If there are no trials, or a file contradicts itself.
    """
    folder = expand(folder)
    base = base_of(folder)
    if base is None:
        raise VidsimError(
            f"{show(folder)} holds no data/interim/similarity; expected the layout of the Social-OOO release"
        )
    notes: list[str] = []
    names = _mapping(base, notes)
    judgments = _trials(base, names, notes)
    return judgments, _stimuli(base, names, judgments, notes)


def _trials(base: Path, names: Mapping[str, str] | None, notes: Sequence[str]) -> Judgments:
    folder = base / TRIALS
    parts = [path for name in ("train", "test") if (path := folder / f"{name}_triplets.csv").is_file()]
    if (folder / "all_triplets.csv").is_file():
        return read_table(folder / "all_triplets.csv", names=names, notes=notes)
    if not parts:
        raise VidsimError(
            f"{show(folder)} holds no trials; expected all_triplets.csv, or train_triplets.csv and test_triplets.csv"
        )
    if len(parts) == 1:
        notes = [*notes, f"trials come from {parts[0].name} alone; all_triplets.csv is missing"]
        return read_table(parts[0], names=names, notes=notes)
    notes = [*notes, "all_triplets.csv is missing; trials come from train_triplets.csv and test_triplets.csv"]
    return joined([read_table(path, names=names) for path in parts], source=folder.as_posix(), names=names, notes=notes)


def joined(
    parts: Sequence[Judgments], *, source: str, names: Mapping[str, str] | None, notes: Sequence[str]
) -> Judgments:
    """Put judgments of several files together.

    Parameters
    ----------
    parts : sequence of Judgments
        Judgments of one order.
    source : str
        Where they come from.
    names : mapping of str to str, optional
        Its values give the order of ids.
    notes : sequence of str
        What a person should know.

    Returns
    -------
    Judgments
        Lines count within each file; defects of a kind are counted together.
    """
    import numpy as np
    import pyarrow as pa

    from vidsim.data.judgments.assemble import LINES_SHOWN
    from vidsim.data.judgments.judgments import Defect

    used = {name for part in parts for name in part.ids}
    ids = tuple(name for name in (names or {}).values() if name in used) if names else tuple(sorted(used))
    position = {name: i for i, name in enumerate(ids)}
    rows = [np.array([position[name] for name in part.ids], np.int32)[part.rows] for part in parts]
    defects: dict[str, Defect] = {}
    for defect in (d for part in parts for d in part.defects):
        old = defects.get(defect.kind)
        count, lines = (old.count, old.lines) if old else (0, ())
        lines = (*lines, *defect.lines)[:LINES_SHOWN]
        defects[defect.kind] = Defect(defect.kind, defect.meaning, count + defect.count, lines, defect.kept)
    return Judgments(
        ids,
        np.concatenate(rows),
        pa.concat_tables([part.details for part in parts]),
        source_rows=sum(part.source_rows for part in parts),
        source=source,
        order=parts[0].order,
        defects=tuple(defects.values()),
        notes=tuple(notes),
    )


def _mapping(base: Path, notes: list[str]) -> dict[str, str] | None:
    path = base / STIMULI / "video_mapping.csv"
    if not path.is_file():
        notes.append("video_mapping.csv is missing: ids are the numbers of the trial files, and match no file names")
        return None
    table = _table(path, "index", "video_name")
    labels, ids = (table.table[name].to_pylist() for name in ("index", "video_name"))
    names = dict(zip(labels, ids, strict=True))
    if len(names) < len(labels) or len(set(ids)) < len(ids) or "" in names or "" in set(ids):
        raise VidsimError(f"{show(path)}: an index or a video stands more than once or is empty; expected each once")
    return names


def _stimuli(
    base: Path, names: Mapping[str, str] | None, judgments: Judgments, notes: Sequence[str]
) -> StimulusSet | None:
    folder = base / STIMULI
    split: dict[str, str] = {}
    for part in ("train", "test"):
        if (folder / f"{part}.csv").is_file():
            listed = _table(folder / f"{part}.csv", "video_name").table["video_name"].to_pylist()
            split |= dict.fromkeys(listed, part)
    ratings, listed_captions, splits = _annotations(folder / "annotations.csv")
    split = split or splits
    captions = _captions(folder / "captions.csv") or listed_captions
    known = list((names or {}).values()) or list(dict.fromkeys([*split, *ratings, *captions]))
    if not known or (names is None and not set(known) & set(judgments.ids)):
        return None
    stimuli = [
        Stimulus(name, None, tuple(captions.get(name, ())), ratings.get(name, {}), split.get(name)) for name in known
    ]
    return StimulusSet(tuple(stimuli))


def _annotations(path: Path) -> tuple[dict[str, dict[str, float]], dict[str, list[str]], dict[str, str]]:
    """Read ratings, captions and the split of each video."""
    if not path.is_file():
        return {}, {}, {}
    source = _table(path, "video_name")
    columns = {name: source.table[name].to_pylist() for name in source.header}
    rated = [name for name in source.header if name.startswith(RATING)]
    ratings: dict[str, dict[str, float]] = {}
    captions: dict[str, list[str]] = {}
    split: dict[str, str] = {}
    for row, name in enumerate(columns["video_name"]):
        line = int(source.lines[row])
        ratings[name] = {r.removeprefix(RATING): _rating(path, line, r, columns[r][row]) for r in rated}
        if columns.get("captions", [""] * (row + 1))[row]:
            captions[name] = _list(path, line, columns["captions"][row])
        if columns.get("stimulus_set", [""] * (row + 1))[row]:
            split[name] = columns["stimulus_set"][row]
    return ratings, captions, split


def _rating(path: Path, line: int, name: str, text: str) -> float:
    try:
        return float(text.replace(",", ".")) if text else float("nan")
    except ValueError:
        raise VidsimError(f"{show(path)} line {line}: {name} is {text[:40]!r}; expected a number") from None


def _list(path: Path, line: int, text: str) -> list[str]:
    """Read a Python list of texts; nothing in it is run."""
    try:
        return [str(item).strip() for item in ast.literal_eval(text)]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise VidsimError(f"{show(path)} line {line}: captions are no list of texts, such as ['a man runs']") from None


def _captions(path: Path) -> dict[str, list[str]]:
    if not path.is_file():
        return {}
    source = _table(path, "video_name", "caption_index", "caption")
    found: dict[str, list[tuple[float, str]]] = {}
    for row, (name, number, caption) in enumerate(
        zip(*(source.table[c].to_pylist() for c in ("video_name", "caption_index", "caption")), strict=True)
    ):
        place = _rating(path, int(source.lines[row]), "caption_index", number)
        if caption:
            found.setdefault(name, []).append((place, caption))
    return {name: [caption for _, caption in sorted(pairs, key=lambda pair: pair[0])] for name, pairs in found.items()}


def _table(path: Path, *needed: str) -> Delimited:
    source = read_whole(path, single=True)
    for name in needed:
        if name not in source.header:
            listed = ", ".join(map(repr, source.header))
            raise VidsimError(f"{show(path)}: no column {name!r}; the columns are {listed}")
    return source
