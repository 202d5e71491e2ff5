"""Idle runs: training whose steps meet no judgment that its loss compares with."""

from itertools import chain, islice

from vidsim.adapt.batches import Batches
from vidsim.adapt.recipe import Recipe, Unfit
from vidsim.triplets import Triplets

LOOKED = 10_000
"""Steps that are searched for something to learn from."""


def refuse_idle_epochs(recipe: Recipe, batches: Batches, fit: Triplets) -> None:
    """Refuse a run that has nothing to learn from.

    Parameters
    ----------
    recipe : Recipe
        How it would train.
    batches : Batches
        Its steps.
    fit : Triplets
        The trials that these are made of.

    Raises
    ------
    Unfit
        If none of the first `LOOKED` steps has a trial, or judged pairs, as the loss takes them.
    """
    kind = recipe.loss.kind
    steps = islice(chain.from_iterable(map(batches.epoch, range(recipe.optimiser.epochs))), LOOKED)
    trials, pairs = kind != "rsa", kind in {"hybrid", "rsa"}
    if not recipe.optimiser.epochs or any(
        (trials and len(step.trials)) or (pairs and len(step.pairs)) for step in steps
    ):
        return
    lacking = "judged pairs that differ" if pairs else "a trial"
    raise Unfit(
        "batches.stimuli",
        f"batches.stimuli = {recipe.batches.stimuli}: no step meets {lacking}, so there is nothing to learn from "
        f"(stimuli: {len(fit.ids)}, trials: {len(fit)}); raise it or batches.steps, or take more judgments",
    )
