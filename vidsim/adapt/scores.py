"""Scores: how closely embeddings match people, in the few numbers that training watches."""

import numpy as np

from vidsim.analysis.correlation import spearman
from vidsim.analysis.odd_one_out import credits
from vidsim.embeddings import Embeddings
from vidsim.rsm import RSM, cosine_rsm
from vidsim.triplets import Triplets

METRICS = ("rho", "rho2", "two_way", "two_way_first", "three_way")
"""Of each, more is better."""


def scores(embeddings: Embeddings, triplets: Triplets, human: RSM) -> dict[str, float]:
    """Compare embeddings with people (METHODS, section 3).

    Parameters
    ----------
    embeddings : Embeddings
        Of all stimuli of the trials.
    triplets : Triplets
        Judged trials.
    human : RSM
        Similarities that follow from them.

    Returns
    -------
    dict of str to float
        `METRICS`: Spearman's rho between cosines (Eq. 1) and human similarities, its square, odd-one-out accuracies;
        NaN where an embedding is not finite. Then ``pairs`` and ``trials``, what they are of.
    """
    of = {"pairs": float(np.isfinite(human.upper).sum()), "trials": float(len(triplets))}
    if not np.isfinite(embeddings.matrix).all():
        return dict.fromkeys(METRICS, float("nan")) | of
    model = cosine_rsm(embeddings.take(triplets.ids))
    rho = spearman(model.upper, human.upper)
    accuracies = credits(model, triplets).accuracies()
    return {"rho": rho, "rho2": rho**2, **{name: accuracies[name] for name in METRICS[2:]}, **of}
