"""Layer choice: by cross-validation over training stimuli, before anything else is looked at."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vidsim.analysis.correlation import spearman
from vidsim.check import at_least
from vidsim.errors import VidsimError
from vidsim.rsm import RSM

FOLDS = 5
LEAST = 4
"""Stimuli of a fold, so that it has six pairs."""


@dataclass(frozen=True)
class LayerChoice:
    """Hold how well each layer fits people on training stimuli.

    Parameters
    ----------
    layer : str
        The best one.
    curve : mapping of str to float
        Mean over folds of Spearman's rho, per layer; NaN where no fold has one.
    error : mapping of str to float
        Standard error of that mean over folds; NaN where fewer than two have a rho.
    """

    layer: str
    curve: Mapping[str, float]
    error: Mapping[str, float]


def choose_layer(human: RSM, layers: Mapping[str, RSM], *, folds: int = FOLDS, seed: int = 0) -> LayerChoice:
    """Choose the layer whose similarities fit people's best on training stimuli.

    Stimuli are dealt to folds; within each fold Spearman's rho is taken over its judged pairs, and averaged over folds.
    Nothing but the matrices given is looked at, so hand over those of the training split.

    Parameters
    ----------
    human : RSM
        People's similarities of the training stimuli.
    layers : mapping of str to RSM
        A model's, in order of depth; each holds all these stimuli.
    folds : int
        At least 2.
    seed : int
        Of the dealing.

    Returns
    -------
    LayerChoice
        The best layer, the earliest of equals, and all means.

    Raises
    ------
    VidsimError
        If there are too few stimuli, no layer can be correlated, or a number is out of range.
    """
    at_least(2, folds=folds)
    at_least(0, seed=seed)
    n = len(human)
    if n < folds * LEAST:
        raise VidsimError(f"{n} stimuli are too few for {folds} folds; expected {folds * LEAST}, or name the layer")
    parts = np.array_split(np.random.default_rng(seed).permutation(n), folds)
    people = [human.similarities[np.ix_(part, part)][np.triu_indices(len(part), 1)] for part in parts]
    curve: dict[str, float] = {}
    error: dict[str, float] = {}
    for name, rsm in layers.items():
        own = rsm.take(human.ids).similarities
        rhos = [
            spearman(own[np.ix_(part, part)][np.triu_indices(len(part), 1)], known)
            for part, known in zip(parts, people, strict=True)
        ]
        known = [rho for rho in rhos if not np.isnan(rho)]
        curve[name] = float(np.mean(known)) if known else float("nan")
        error[name] = float(np.std(known, ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
    if all(np.isnan(rho) for rho in curve.values()):
        raise VidsimError(
            "no layer can be correlated with people: similarities are constant, or too few pairs are judged"
        )
    return LayerChoice(max(curve, key=lambda name: (not np.isnan(curve[name]), curve[name])), curve, error)
