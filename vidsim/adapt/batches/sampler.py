"""The sampler that a recipe asks for."""

from vidsim.adapt.batches.step import Batches
from vidsim.adapt.batches.stimuli import StimulusBatches
from vidsim.adapt.batches.trials import TrialBatches
from vidsim.adapt.recipe import Recipe, Unfit
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets


def make_batches(recipe: Recipe, triplets: Triplets, seed: int) -> Batches:
    """Make the sampler of a recipe.

    Parameters
    ----------
    recipe : Recipe
        How.
    triplets : Triplets
        Training trials.
    seed : int
        Of the order.

    Returns
    -------
    Batches
        Steps, epoch by epoch.

    Raises
    ------
    Unfit
        If there is not enough to train on.
    """
    try:
        return _made(recipe, triplets, seed)
    except VidsimError as error:
        key = error.key if isinstance(error, Unfit) else "batches.sampler"
        raise Unfit(key, f"batches: {error}") from error


def _made(recipe: Recipe, triplets: Triplets, seed: int) -> Batches:
    settings = recipe.batches
    if settings.sampler == "stimuli":
        return StimulusBatches(triplets, stimuli=settings.stimuli, steps=settings.steps or None, seed=seed)
    return TrialBatches(
        triplets,
        batch=0 if recipe.loss.kind == "rsa" else settings.trials,
        rsa_steps=settings.rsa_steps,
        rsa_stimuli=settings.rsa_stimuli,
        rsa_gradients=settings.rsa_gradients,
        extra_trials=settings.extra_trials,
        seed=seed,
    )
