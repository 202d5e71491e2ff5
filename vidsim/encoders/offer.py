"""What a file or a package offers for a card."""

from dataclasses import dataclass

from vidsim.encoders.base import EncoderCard


@dataclass(frozen=True)
class Offer:
    """Hold what a file or a package offers: a card, or why it cannot be used.

    Parameters
    ----------
    place : str
        File, or entry point of a package.
    called : str
        Name of the file or the entry point, which stands in for that of the card where there is none.
    name : str, optional
        Name of the card, as far as it could be read.
    card : EncoderCard, optional
        The card, if it can be used.
    reason : str
        Why it cannot, with its place.
    """

    place: str
    called: str
    name: str | None = None
    card: EncoderCard | None = None
    reason: str = ""
