"""What the processors of published checkpoints do to pixels: loading holds their files against it."""

from collections.abc import Mapping

Colour = tuple[float, float, float]

IMAGENET: tuple[Colour, Colour] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation, as those below."""

CLIP: tuple[Colour, Colour] = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF: tuple[Colour, Colour] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
KINETICS: tuple[Colour, Colour] = ((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))

BILINEAR, BICUBIC = 2, 3
"""Pillow's filters."""


def processor(
    normalisation: tuple[Colour, Colour], resample: int, factor: int | float = 1 / 255
) -> Mapping[str, object]:
    """Say what a processor does to pixels, as the option ``prepared`` of a card.

    Parameters
    ----------
    normalisation : ((float, float, float), (float, float, float))
        Subtracted from and divided into the rescaled red, green and blue.
    resample : int
        Pillow's filter.
    factor : float
        Multiplies the 0..255 values.

    Returns
    -------
    mapping of str to object
        ``mean``, ``std``, ``factor`` and ``resample``.

    Examples
    --------
    >>> processor(HALF, BICUBIC, 1)
    {'mean': (0.5, 0.5, 0.5), 'std': (0.5, 0.5, 0.5), 'factor': 1, 'resample': 3}
    """
    mean, std = normalisation
    return {"mean": mean, "std": std, "factor": factor, "resample": resample}
