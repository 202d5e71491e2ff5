"""The part of ``vidsim compare`` that finds the trials which flip between two spaces, and what is seen in them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidsim.cli.judgments.source import ContextName, load_split
from vidsim.cli.options import Captions
from vidsim.cli.root import root_of
from vidsim.cli.spaces import Similarity, find_space
from vidsim.cli.stored import is_path, stimuli_of
from vidsim.errors import VidsimError
from vidsim.paths import expand

if TYPE_CHECKING:
    from vidsim.analysis.comparison import Comparison, Example
    from vidsim.report.compare import Look
    from vidsim.triplets import Triplets


def find_flips(
    names: tuple[str, str],
    source: str,
    root: str,
    split: str | None,
    context: ContextName,
    captions: Captions,
    similarity: Similarity,
    resamples: int,
    seed: int,
) -> "Comparison":
    """Compare how two spaces judge people's trials.

    Parameters
    ----------
    names : tuple of str
        What `find_space` knows.
    source : str
        Judgments in the store by name, a file or a folder.
    root : str
        Artefact root.
    split : str, optional
        Stimuli of the trials.
    context : ContextName
        Whether all three stimuli lie in the split, or two at least.
    captions : Captions
        Which embeddings of encoders that read.
    similarity : Similarity
        How embeddings are compared.
    resamples, seed : int
        Of the bootstrap over stimuli.

    Returns
    -------
    Comparison
        Counts, accuracies, and the trials that flip.

    Raises
    ------
    VidsimError
        If there is no trial, a space is not there or lacks stimuli, or both are the same.
    """
    every, ids = load_split(source, root, split)
    triplets = _trials(every.triplets, ids, 3 if context is ContextName.within else 2)
    if not len(triplets):
        raise VidsimError(
            f"no trial of {source!r} lies within split {split!r}" if split else f"{source!r} has no trial"
        )
    from vidsim.analysis.comparison import compare

    first, second = (find_space(name, root, captions.value) for name in names)
    if first.name == second.name:
        raise VidsimError(f"{first.name!r} was given twice; expected two different spaces")
    a, b = (space.rsm(triplets.ids, similarity.value) for space in (first, second))
    return compare(a, b, triplets, names=(first.name, second.name), resamples=resamples, seed=seed)


def _trials(every: "Triplets", ids: tuple[str, ...] | None, least: int) -> "Triplets":
    """Choose trials of which so many stimuli are among the ids, and the stimuli that occur in them."""
    import numpy as np

    chosen = every
    if ids is not None:
        inside = np.zeros(len(every.ids), bool)
        inside[[every.position[name] for name in ids]] = True
        chosen = every.select(inside[every.rows].sum(axis=1) >= least)
    return chosen.restrict([every.ids[int(k)] for k in np.unique(chosen.rows)])


def find_look(found: "Comparison", source: str, root: str, n: int, *, images: bool) -> "Look":
    """Find what people can see of the stimuli of a comparison.

    Parameters
    ----------
    found : Comparison
        The comparison.
    source : str
        Its judgments.
    root : str
        Artefact root.
    n : int
        Examples shown in each direction.
    images : bool
        Whether thumbnails of those are wanted.

    Returns
    -------
    Look
        Captions of all stimuli, and thumbnails where there are clips.
    """
    from vidsim.report.compare import Look
    from vidsim.report.thumbnail import thumbnail

    captions, paths = _stimuli(source, root, (found.a, found.b))
    shown = dict.fromkeys(
        name for flipped in (found.towards, found.away) for example in flipped[:n] for name in example.stimuli
    )
    drawn: dict[str, Any] = {}
    for name in shown if images else ():
        image = thumbnail(Path(paths[name])) if name in paths else None
        if image is not None:
            drawn[name] = image
    return Look(captions, drawn)


def _stimuli(source: str, root: str, spaces: tuple[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Find the first caption of stimuli, and their files: in the set judged, else where a space was made from."""
    from vidsim.data.judgments.read import read
    from vidsim.errors import NoStore
    from vidsim.store import Store

    try:
        store = Store(root_of(root))
    except NoStore:
        store = None
    stored = store is not None and not is_path(source) and source in store.judgments
    paths: dict[str, str] = {}
    stimuli = stimuli_of(store, source) if store is not None and stored else read(expand(source)).stimuli
    tables = [] if store is None else [one for name in spaces for one in store.tables(name.partition(":")[0])]
    for table in tables:
        entries = table.entries()
        pairs: Iterable[tuple[str, str]] = zip(entries["id"].to_pylist(), entries["path"].to_pylist(), strict=True)
        paths = {**{key: path for key, path in pairs if path}, **paths}
    there = ((s.id, s.path) for s in stimuli or () if s.path is not None and os.access(s.path, os.R_OK))
    paths |= {name: str(path) for name, path in there if path.is_file()}
    return {s.id: s.captions[0] for s in stimuli or () if s.captions}, paths


def describe(found: "Comparison", look: "Look", n: int) -> dict[str, Any]:
    """Put a comparison in the form that ``--json`` prints.

    Parameters
    ----------
    found : Comparison
        The comparison.
    look : Look
        Captions of the stimuli.
    n : int
        Examples in each direction.

    Returns
    -------
    dict
        Names ``a`` and ``b``, counts, ``accuracy``, ``mcnemar`` and ``examples``.
    """
    return {
        "a": found.a,
        "b": found.b,
        **found.counts,
        "accuracy": {
            "a": found.accuracies[0],
            "b": found.accuracies[1],
            "chance": 1 / 3,
            "change": found.change,
            "interval": found.interval,
        },
        "mcnemar": found.p,
        "examples": {
            way: [_example(example, look) for example in flipped[:n]]
            for way, flipped in (("towards", found.towards), ("away", found.away))
        },
    }


def _example(example: "Example", look: "Look") -> dict[str, Any]:
    return {
        "trial": example.trial,
        "stimuli": [{"id": name, "caption": look.captions.get(name)} for name in example.stimuli],
        "people": example.stimuli[2],
        "a": example.odd_a,
        "b": example.odd_b,
        "margin_a": example.margin_a,
        "margin_b": example.margin_b,
        "same": example.same,
        "judged": example.judged,
    }
