"""Queries: the index that a verb asks, and the stimuli it asks about; an id never imports torch."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray

    from vidsim.encoders.catalog import Resolved
    from vidsim.extract import FeatureSpec
    from vidsim.retrieval.index import Index
    from vidsim.store import Entry


def choose_index(root: str, encoder: str | None, layer: str | None) -> tuple[str, str]:
    """Find the one index that is meant.

    Parameters
    ----------
    root : str
        Artefact root.
    encoder, layer : str, optional
        Needed only where there are several.

    Returns
    -------
    tuple of str
        Encoder and layer.

    Raises
    ------
    VidsimError
        If there is none, or more than one.
    """
    from vidsim.retrieval.manifest import built

    there = built(root)
    fitting = [(e, la) for e, la in there if encoder in {None, e} and layer in {None, la}]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(f"--encoder {e} --layer {la}" for e, la in fitting or there)
    if fitting:
        raise VidsimError(f"{len(fitting)} indexes are in {root!r}; say which: {listed}")
    if there:
        raise VidsimError(f"no index of {' '.join(filter(None, (encoder, layer)))} in {root!r}; there are: {listed}")
    raise VidsimError(f"no index in {root!r}; build one: vidsim index FOLDER")


def find_row(index: "Index", query: str) -> int | None:
    """Find a stimulus by id, path, content, or the end of an id from a folder on, with or without its suffix.

    Parameters
    ----------
    index : Index
        Where to look.
    query : str
        An id, or a video file.

    Returns
    -------
    int or None
        Its row; None for a clip that is not indexed, by its content.

    Raises
    ------
    VidsimError
        If it is neither an indexed id nor a file, or fits several ids.
    """
    row = index.find("id", query)
    if row is not None:
        return row
    path = Path(query)
    if path.is_file():
        from vidsim.data.video import content_hash, file_content

        # by content: a file that has changed since it was indexed is not what stands in the index
        content = content_hash(path)
        row = index.find("path", path.resolve().as_posix())
        same = row is not None and file_content(index.value("content", row)) == content
        return row if same else index.find("content", content)
    ending = re.compile(rf"(.*/)?{re.escape(query)}(\.[^./]*)?", re.DOTALL)
    named = [name for name in index.ids if ending.fullmatch(name)]
    if len(named) == 1:
        return index.find("id", named[0])
    if named:
        raise VidsimError(f"{query!r} fits {len(named)} ids, such as {named[0]!r} and {named[1]!r}; give one in full")
    raise VidsimError(f"{query!r} is neither an indexed id nor a video file{nearest_ids(query, index.ids)}")


def nearest_ids(query: str, ids: Sequence[str]) -> str:
    """Complete an error message with the ids that look most like a wrong one.

    Parameters
    ----------
    query : str
        What was asked for.
    ids : sequence of str
        What there is.

    Returns
    -------
    str
        Starts with ``;``; empty where none is near.

    Examples
    --------
    >>> nearest_ids("clip 11", ["clip 1.mp4", "dog.mp4"])
    "; the nearest ids are 'clip 1.mp4'"
    """
    from difflib import get_close_matches

    # close matches cost time for every id: in a large index look first among those that contain the query
    holding = [i for i in ids if query.lower() in i.lower()]
    near = get_close_matches(query, holding[:2000] or ids[:2000], 3, 0.4)
    return f"; the nearest ids are {', '.join(map(repr, near))}" if near else ""


def encode_clip(index: "Index", path: Path, device: str, root: str) -> "tuple[Float[ndarray, ' d'], Entry]":
    """Encode a clip as what stands in an index was.

    Parameters
    ----------
    index : Index
        Whose encoder, layer and feature spec.
    path : Path
        A video file.
    device : str
        Where the encoder runs.
    root : str
        Artefact root, in which adapters lie.

    Returns
    -------
    tuple of array of shape (d,) and Entry
        The embedding in model units, and what would be stored of the file.

    Raises
    ------
    VidsimError
        If the clip cannot be read, what is indexed are captions or clips with captions, or the encoder is not what
        the index was built with.
    """
    from vidsim.data.video import file_content
    from vidsim.extract import embed_file

    resolved, spec = encoder_of(index, root)
    if resolved.card.modality == "text":
        raise VidsimError(
            f"{str(path)!r} is not indexed, and {resolved.card.name} reads captions, not videos; query by id"
        )
    if resolved.card.modality == "video+text" and any(
        file_content(one) != one for one in index.column("content").to_pylist()
    ):
        raise VidsimError(
            f"{str(path)!r} is not indexed, and for this index {resolved.card.name} has read captions beside the "
            "frames; index the clip with its captions, and query by id"
        )
    return embed_file(path, resolved, spec, index.manifest["layer"], device)


def encode_text(index: "Index", text: str, device: str, root: str) -> "Float[ndarray, ' d']":
    """Give a text its place among what stands in an index.

    Parameters
    ----------
    index : Index
        Of captions, or of an encoder with a text tower.
    text : str
        The text.
    device : str
        Where the encoder runs.
    root : str
        Artefact root, in which adapters lie.

    Returns
    -------
    array of shape (d,)
        In model units.

    Raises
    ------
    VidsimError
        If the text is not valid or empty, the encoder takes none, or is not what the index was built with.
    """
    from vidsim.extract.text import embed_text

    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise VidsimError(f"--text is not valid text (UTF-8) at character {error.start + 1}") from None
    return embed_text(text, *encoder_of(index, root), index.manifest["layer"], device)


def encoder_of(index: "Index", root: str) -> "tuple[Resolved, FeatureSpec]":
    """Find the encoder with which an index was built.

    Parameters
    ----------
    index : Index
        The index.
    root : str
        Artefact root, in which adapters lie.

    Returns
    -------
    tuple of Resolved and FeatureSpec
        Its files, and how it was used.

    Raises
    ------
    VidsimError
        If it is not found, or no longer what the index was built with.
    """
    from vidsim.cli.encoders import find_card, resolve
    from vidsim.extract import FeatureSpec

    made = index.manifest["provenance"]
    spec = FeatureSpec(**made["spec"])
    resolved = resolve(
        find_card(index.manifest["encoder"], root),
        checkpoint=made["checkpoint"],
        revision=made["revision"],
        pooling=made["pooling"],
    )
    if spec.identity(resolved.identity, resolved.card.modality) != made["identity"]:
        raise VidsimError(
            f"{resolved.card.name} is not what the index was built with (weights, sampling or preprocessing changed); "
            f"rebuild it: vidsim index FOLDER --encoder {resolved.card.name}"
        )
    return resolved, spec
