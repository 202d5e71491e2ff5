"""All cards of one's own, from files and packages: those that can be used, and why the others cannot."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vidsim.encoders.base import EncoderCard
from vidsim.encoders.offer import Offer
from vidsim.encoders.package_cards import read_packages
from vidsim.encoders.user_cards import read_files
from vidsim.errors import VidsimError


@dataclass(frozen=True)
class OwnCards:
    """Hold the cards of one's own.

    Parameters
    ----------
    cards : mapping of str to EncoderCard
        By name, files before packages.
    left_out : tuple of Offer
        What cannot be used.
    """

    cards: Mapping[str, EncoderCard]
    left_out: tuple[Offer, ...] = ()

    def refuse(self, name: str) -> None:
        """Say why an encoder that was asked for cannot be used.

        Parameters
        ----------
        name : str
            Name of none of the cards, in upper or lower case.

        Raises
        ------
        VidsimError
            If a card of this name, or of a file or entry point that is called so, was left out.
        """
        for offer in self.left_out:
            if name.lower() in {offer.called.lower(), (offer.name or offer.called).lower()}:
                raise VidsimError(offer.reason)


def read_own_cards(known: Mapping[str, EncoderCard], aliases: Mapping[str, str]) -> OwnCards:
    """Read the user's cards, from files and from packages.

    Parameters
    ----------
    known : mapping of str to EncoderCard
        The built-in cards: their names are taken, their families and options are the legal ones.
    aliases : mapping of str to str
        Further names of theirs, which are taken too.

    Returns
    -------
    OwnCards
        The cards. Two of one name are both left out: neither is picked in silence. One with the name of a built-in
        encoder is left out, and the name stays that of the encoder.

    Raises
    ------
    VidsimError
        If ``VIDSIM_CARDS`` names a folder that is not there.
    """
    offers = [*read_files(known, aliases), *read_packages(known)]
    owners: dict[str, list[str]] = {name.lower(): ["a built-in encoder"] for name in (*known, *aliases)}
    for offer in offers:
        if offer.name is not None:
            owners.setdefault(offer.name.lower(), []).append(offer.place)
    checked = [_alone(offer, owners) for offer in offers]
    return OwnCards(
        {offer.card.name: offer.card for offer in checked if offer.card is not None},
        tuple(offer for offer in checked if offer.card is None),
    )


def _alone(offer: Offer, owners: Mapping[str, list[str]]) -> Offer:
    """Leave a card out whose name another one has."""
    if offer.card is None:
        return offer
    others = [*owners[offer.card.name.lower()]]
    others.remove(offer.place)
    if not others:
        return offer
    reason = f"{offer.place}: name {offer.card.name!r} is that of {others[0]}; expected another name"
    return replace(offer, card=None, reason=reason)
