"""Dissimilarities of Meadows multi-arrangement tasks: .mat files and tree.json."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vidsim.data.judgments.text import show
from vidsim.errors import VidsimError
from vidsim.paths import Place, expand
from vidsim.rsm import RSM, square

TASK = "multiarrange"


def read_arrangements(path: Place) -> dict[str, RSM]:
    """Read the dissimilarities of a Meadows export.

    Parameters
    ----------
    path : str or path
        ``.mat`` of one participant (``rdmutv``, ``stimuli``) or of several (``rdmutv_NAME``, ``stimuli_NAME``), or the
        ``tree.json`` of one participant, in which every multi-arrangement task counts.

    Returns
    -------
    dict of str to RSM
        By participant, or by ``participant/task`` where there are several tasks; similarity = 1 - dissimilarity, in the
        units of the arena. Ids are the names of the stimuli, without the suffix of image files.

    Raises
    ------
    VidsimError
        If the file cannot be read, is of another kind, or a matrix does not fit its stimuli.
    """
    path = expand(path)
    if not path.is_file():
        raise VidsimError(
            f"no file {show(path)}" if not path.exists() else f"{show(path)} is a folder; expected a file"
        )
    return _mat(path) if path.suffix.lower() == ".mat" else _tree(path)


def mean_rsm(rsms: Mapping[str, RSM]) -> RSM:
    """Average the dissimilarities of several participants.

    Arenas have no common unit, so each participant's dissimilarities are first divided by their root mean square
    (Kriegeskorte and Mur, 2012).

    Parameters
    ----------
    rsms : mapping of str to RSM
        Over the same stimuli, in any order.

    Returns
    -------
    RSM
        1 - mean dissimilarity; the count of a pair is the number of participants who judged it.

    Raises
    ------
    VidsimError
        If participants have different stimuli, or one has none that differ.
    """
    ids = next(iter(rsms.values())).ids
    total = np.zeros((len(ids), len(ids)))
    counts = np.zeros_like(total, np.int64)
    for name, rsm in rsms.items():
        if set(rsm.ids) != set(ids):
            raise VidsimError(f"{name!r} arranged other stimuli than {next(iter(rsms))!r}; import them one by one")
        distances = rsm.take(ids).distances
        size = np.sqrt(np.nanmean(distances[np.triu_indices(len(ids), 1)] ** 2))
        if not size > 0:
            raise VidsimError(f"all dissimilarities of {name!r} are 0; leave this participant out")
        total += np.nan_to_num(distances / size)
        counts += ~np.isnan(distances)
    np.fill_diagonal(counts, 0)
    mean = np.divide(total, counts, out=np.full_like(total, np.nan), where=counts > 0)
    np.fill_diagonal(mean, 0)
    return RSM(tuple(ids), 1 - mean, counts)


def _mat(path: Path) -> dict[str, RSM]:
    from scipy.io import loadmat

    try:
        variables: dict[str, Any] = loadmat(path)
    except Exception as error:  # scipy raises whatever a damaged file makes it stumble over
        raise VidsimError(
            f"{show(path)} cannot be read as a MATLAB file: {' '.join(str(error).split())[:200]}"
        ) from None
    found = [name.removeprefix("rdmutv") for name in variables if name.startswith("rdmutv")]
    if not found:
        listed = ", ".join(name for name in variables if not name.startswith("__")) or "none"
        raise VidsimError(
            f"{show(path)} has no variable rdmutv; expected a Meadows multi-arrangement export; it has {listed}"
        )
    rsms: dict[str, RSM] = {}
    for end in found:
        names = variables.get(f"stimuli{end}")
        if names is None:
            raise VidsimError(f"{show(path)} has rdmutv{end} but no stimuli{end}")
        who = end.lstrip("_").replace("_", "-") or _participant(path)
        rsms[who] = _rsm(path, who, [str(name) for name in np.ravel(names)], variables[f"rdmutv{end}"])
    return rsms


def _tree(path: Path) -> dict[str, RSM]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise VidsimError(f"{show(path)} cannot be read as JSON: {' '.join(str(error).split())[:200]}") from None
    who = _participant(path)
    try:
        tasks = tree.get("tasks", [tree])
        arranged = [task for task in tasks if task["task"]["task_type"] == TASK and task.get("rdm")]
        parts = [(t["task"]["name"], [str(s["name"]) for s in t["stimuli"]], t["rdm"]) for t in arranged]
    except (KeyError, TypeError, AttributeError):
        raise VidsimError(
            f"{show(path)} is not the tree of a Meadows participant; expected tasks with task_type"
        ) from None
    if not parts:
        raise VidsimError(
            f"{show(path)} has no finished multi-arrangement task; expected task_type {TASK!r} with an rdm"
        )
    several = len(parts) > 1
    return {f"{who}/{task}" if several else who: _rsm(path, who, names, rdm) for task, names, rdm in parts}


def _rsm(path: Path, who: str, names: Sequence[str], upper: Any) -> RSM:
    """Lay out dissimilarities that come as the upper triangle, row by row."""
    try:
        values: Float[ndarray, " p"] = np.asarray(upper, np.float64).ravel()
    except (TypeError, ValueError):
        raise VidsimError(f"{show(path)}: the dissimilarities of {who!r} are no numbers") from None
    n = len(names)
    if len(values) != n * (n - 1) // 2:
        raise VidsimError(
            f"{show(path)}: {len(values)} dissimilarities of {who!r} for {n} stimuli; expected {n * (n - 1) // 2}"
        )
    short = [re.sub(r"\.(png|jpe?g|gif|bmp|webp|svg)$", "", name.strip(), flags=re.IGNORECASE) for name in names]
    return RSM(tuple(short if len(set(short)) == n else names), 1 - square(values, n, 0.0))


def _participant(path: Path) -> str:
    """Read the participant from a file name such as Meadows_myExp_v_v1_cuddly-bunny_3_tree.json."""
    found = re.search(r"_([a-z]+-[a-z]+)_(?:\d+_)?(?:\dD|tree)$", path.stem)
    return found[1] if found else path.stem
