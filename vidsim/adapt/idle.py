"""Idle runs: training whose steps meet no judgment that its loss compares with, or whose loss weighs none."""

from itertools import chain, islice

from vidsim.adapt.batches import Batches
from vidsim.adapt.legal import spell
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
        If none of the first `LOOKED` steps has a trial, or judged pairs, as the loss takes them; or a single epoch has
        none but the first weight of the RSA loss, and that is 0.
    """
    loss = recipe.loss
    if recipe.optimiser.epochs == 1 and loss.kind == "hybrid" and not any((loss.alpha, loss.beta[0], loss.retention)):
        raise Unfit(
            "loss.beta",
            f"loss.beta = {spell(loss.beta)} and loss.alpha = 0 weigh nothing in a single epoch, which has the first "
            "of the two weights: there is nothing to learn from; raise one of them, or the number of epochs",
        )
    steps = islice(chain.from_iterable(map(batches.epoch, range(recipe.optimiser.epochs))), LOOKED)
    trials, pairs = loss.kind != "rsa", loss.kind in {"hybrid", "rsa"}
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
