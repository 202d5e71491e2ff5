"""The schedule: the learning rate of a step."""

import math

from vidsim.adapt.sections import Optimiser


def learning_rate(settings: Optimiser, step: int, steps: int) -> float:
    """Compute the learning rate of a step: a rise in a straight line, then constant or half a cosine.

    Parameters
    ----------
    settings : Optimiser
        Rate, warm-up and schedule.
    step : int
        From 0 on.
    steps : int
        Of the whole run.

    Returns
    -------
    float
        The rate.
    """
    rising = settings.warmup * steps
    if step < rising:
        return settings.learning_rate * min(1, (step + 1) / rising)
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2
