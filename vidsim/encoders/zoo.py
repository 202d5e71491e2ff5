"""The zoo: checkpoints published as one file at an address, found on this machine or fetched once. Imports no torch."""

import hashlib
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from vidsim.disk import refused
from vidsim.encoders.base import EncoderCard
from vidsim.encoders.cards.video_cnn import ROWS, ZOO
from vidsim.encoders.checkpoint import Source, cache_folder, read_json
from vidsim.errors import CheckpointUnavailable, VidsimError
from vidsim.paths import expand

log = logging.getLogger(__name__)

BEGINNINGS = (b"PK\x03\x04", b"\x80")
"""What pickled checkpoints begin with, as zip archives and as older files."""

TIMEOUT = 10.0
"""Seconds without an answer after which the zoo counts as out of reach."""

PIECE = 1 << 20
"""Bytes fetched at a time."""


class _NoCheckpoint(Exception):
    """Report an answer that is something else, such as the page of a login."""


def in_zoo(card: EncoderCard) -> bool:
    """Say whether a card's checkpoint is a file of the zoo, rather than a repository of the hub.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog.

    Returns
    -------
    bool
        True if it names the file.
    """
    # the family of another package may have an option of that name
    return card.family == "video_cnn" and "file" in card.options


def has_own_place(card: EncoderCard) -> bool:
    """Say whether a card, one of the user's own, names a file or folder of this machine.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog; it names a checkpoint.

    Returns
    -------
    bool
        True if there is nothing to fetch.
    """
    return card.checkpoint is not None and Path(card.checkpoint).is_absolute()


def preprocess_config(card: EncoderCard) -> Mapping[str, Any]:
    """Return what stands in for a ``preprocessor_config.json``: zoo checkpoints have none, the card knows.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog, of the zoo.

    Returns
    -------
    mapping of str to object
        Size, mean and standard deviation.
    """
    return {
        "video_processor_type": "ShortSideScale",
        "size": {"shortest_edge": card.size},
        "crop_size": card.size,
        "image_mean": card.options["mean"],
        "image_std": card.options["std"],
    }


def locate_file(
    card: EncoderCard,
    *,
    checkpoint: str | None = None,
    revision: str | None = None,
    offline: bool = False,
    alternatives: Sequence[str] = (),
) -> tuple[Source, Path, None]:
    """Find the file of a checkpoint: the one given, one fetched before, the zoo's.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog, of the zoo.
    checkpoint : str, optional
        Local file, or folder with it, to use instead.
    revision : str, optional
        Refused: the zoo has none.
    offline : bool
        Never ask the zoo.
    alternatives : sequence of str
        Encoders to name as working offline if the checkpoint cannot be had.

    Returns
    -------
    tuple
        The source, the file, and no commit.

    Raises
    ------
    CheckpointUnavailable
        If the file is nowhere and cannot be fetched.
    VidsimError
        If the file given is not there or is published as another model's, or a revision was given.
    """
    assert card.checkpoint is not None
    if revision is not None:
        raise VidsimError(f"{card.name} is published as one file without revisions; leave --revision out")
    if checkpoint is not None:
        return "folder", _given(card, checkpoint), None
    found = find_file(card)
    if has_own_place(card):
        return "folder", found or _nowhere(card), None
    if found is None and offline:
        raise CheckpointUnavailable(_missing(card, "was not to be asked", alternatives))
    return "zoo", found or _fetch(card, fetched_file(card), alternatives), None


def find_file(card: EncoderCard) -> Path | None:
    """Find a copy of a checkpoint that was fetched before, here or by torch.hub.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog, of the zoo.

    Returns
    -------
    Path, optional
        The file; None if it would be fetched.
    """
    assert card.checkpoint is not None
    if has_own_place(card):
        return _at(Path(card.checkpoint), card)
    places = [fetched_file(card)]
    # torch.hub keeps files by name, wherever they came from: it has the zoo's X3D_M.pyth, not that of another address
    if card.checkpoint.startswith(f"{ZOO}/"):
        cache = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
        places.append(expand(os.fspath(cache)) / "hub" / "checkpoints" / card.options["file"])
    return next((place for place in places if place.is_file()), None)


def fetched_file(card: EncoderCard) -> Path:
    """Return the place where a checkpoint is kept once it has been fetched.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog, of the zoo, with an address.

    Returns
    -------
    Path
        The file in the cache; the folders above it tell apart files of one name.
    """
    assert card.checkpoint is not None
    address = urlsplit(card.checkpoint)
    place = cache_folder() / "zoo" / (address.hostname or "")
    if address.query:  # it may be all that tells two files apart
        place /= hashlib.sha256(card.checkpoint.encode()).hexdigest()[:12]
    return place / address.path.strip("/")


def refuse_changed(path: Path, weights_hash: str) -> None:
    """Refuse a fetched file that is not what was fetched.

    Parameters
    ----------
    path : Path
        The checkpoint.
    weights_hash : str
        Its SHA-256 now.

    Raises
    ------
    VidsimError
        If the note that was left when it was fetched has another.
    """
    note = _note(path)
    # a file of that name beside a checkpoint of the user's own is no note
    if not (path.is_relative_to(cache_folder() / "zoo") and note.is_file()):
        return
    fetched = str(read_json(note).get("sha256", ""))
    if fetched != weights_hash:
        raise VidsimError(
            f"{os.fspath(path)!r} has changed since it was fetched (SHA-256 {fetched[:12]} then, {weights_hash[:12]} "
            f"now); delete it and {note.name!r} beside it, and it is fetched again"
        )


def how_to_get(card: EncoderCard) -> str:
    """Say how a checkpoint comes to a machine without network.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog, of the zoo, with an address.

    Returns
    -------
    str
        Half a sentence.
    """
    return (
        f"fetch {card.checkpoint} where there is network, and give --checkpoint FILE or put it at "
        f"{os.fspath(fetched_file(card))!r}"
    )


def who_works(alternatives: Sequence[str]) -> str:
    """Say which encoders need no network.

    Parameters
    ----------
    alternatives : sequence of str
        Their names.

    Returns
    -------
    str
        The end of a sentence; empty without any.
    """
    return f"; {', '.join(alternatives)} work{'s' * (len(alternatives) == 1)} offline" if alternatives else ""


def _at(place: Path, card: EncoderCard) -> Path | None:
    name = card.options["file"]
    # a copy that was turned into safetensors serves as well
    files = (place, place / name, place / f"{name.removesuffix(Path(name).suffix)}.safetensors")
    return next((file for file in files if file.is_file()), None)


def _given(card: EncoderCard, given: str) -> Path:
    path, name = expand(given), card.options["file"]
    if (found := _at(path, card)) is not None:
        _refuse_other_name(card, found)
        return found
    if path.is_dir():
        raise VidsimError(f"no {name} in {given!r}; --checkpoint of {card.name} expects that file, or its folder")
    raise VidsimError(f"no file {given!r}; --checkpoint of {card.name} expects {name}, or its folder")


def _refuse_other_name(card: EncoderCard, file: Path) -> None:
    # weights of one architecture may have the same shapes: X3D-XS, S and M differ in nothing but their names
    if file.stem == Path(card.options["file"]).stem:
        return
    other = next((row for row in ROWS if Path(row.options["file"]).stem == file.stem), None)
    if other is not None:
        raise VidsimError(
            f"{os.fspath(file)!r} is by its name the checkpoint of {other.name}; --checkpoint of {card.name} expects "
            f"{card.options['file']}: rename the file if it really is {card.name}'s, or give -e {other.name}"
        )


def _nowhere(card: EncoderCard) -> NoReturn:
    assert card.checkpoint is not None
    what = f"no file {card.checkpoint!r}"
    if Path(card.checkpoint).is_dir():
        name = card.options["file"]
        what = f"{card.checkpoint!r} is a folder{f' without {name}' if name else ''}"
    raise VidsimError(f"the checkpoint of {card.name} is not there: {what}; mend its card")


def _fetch(card: EncoderCard, target: Path, alternatives: Sequence[str]) -> Path:
    # imported here: listing models needs none of it
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    assert card.checkpoint is not None
    log.info("fetching %s to %s", card.checkpoint, target)
    try:
        with urlopen(card.checkpoint, timeout=TIMEOUT) as answer:
            _keep(answer, card.checkpoint, target)
    except (OSError, HTTPException, UnicodeError, _NoCheckpoint) as error:
        if refused(error):  # by the disk, which is not the network
            raise
        answered = isinstance(error, HTTPError | _NoCheckpoint)
        if isinstance(error, HTTPError):
            error.close()  # it holds the connection
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = f"{'answers' if answered else 'cannot be reached'} ({lines[0]})"
        raise CheckpointUnavailable(_missing(card, reason, alternatives)) from error
    return target


def _keep(answer: Any, address: str, target: Path) -> None:
    """Write an answer to a file and leave a note of it beside that."""
    from tempfile import TemporaryDirectory

    from tqdm import tqdm

    whole = int(answer.headers.get("Content-Length") or 0)
    digest, size = hashlib.sha256(), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    # written aside and renamed, so that a broken download leaves nothing that looks whole
    with TemporaryDirectory(prefix="draft-", dir=target.parent, ignore_cleanup_errors=True) as draft:
        file, note = Path(draft) / target.name, Path(draft) / "note.json"
        bar = tqdm(total=whole or None, unit="B", unit_scale=True, desc=target.name, disable=not sys.stderr.isatty())
        with file.open("wb") as sink, bar:
            while piece := answer.read(PIECE):
                # safetensors begin with the length of their JSON
                if not size and not piece.startswith(BEGINNINGS) and piece[8:9] != b"{":
                    begins = ascii(piece[:30].decode("latin-1"))
                    raise _NoCheckpoint(f"with no checkpoint: it begins {begins}; is that the page of a login?")
                sink.write(piece)
                digest.update(piece)
                size += len(piece)
                bar.update(len(piece))
        if not size:
            raise _NoCheckpoint("with an empty file")
        if whole and size != whole:
            raise ConnectionError(f"it sent {size:,} of {whole:,} bytes")
        facts = {name.lower().replace("-", "_"): answer.headers.get(name) for name in ("ETag", "Last-Modified")}
        facts = {"url": address, **facts, "bytes": size, "sha256": digest.hexdigest()}
        note.write_text(json.dumps(facts, indent=1), encoding="utf-8")
        note.replace(_note(target))
        file.replace(target)


def _missing(card: EncoderCard, reason: str, alternatives: Sequence[str]) -> str:
    assert card.checkpoint is not None
    return (
        f"no weights for {card.name}: {card.options['file']} is not on this machine and "
        f"{urlsplit(card.checkpoint).hostname} {reason}; {how_to_get(card)}{who_works(alternatives)}"
    )


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
