"""What is said where an adapter is measured on stimuli that its training has used."""

from collections.abc import Mapping, Sequence
from typing import Any

SEEN = "seen_in_training"
"""Key of an encoder's answer: how many of the stimuli were ``fitted`` and ``validated``; None where unknown."""


def seen_lines(encoders: Sequence[Mapping[str, Any]], stimuli: int) -> list[str]:
    """Say of which adapters the scores are too good, and why.

    Parameters
    ----------
    encoders : sequence of mapping
        With ``encoder`` and, where known, ``seen_in_training``.
    stimuli : int
        Stimuli measured.

    Returns
    -------
    list of str
        A line for all adapters that saw the same number of them; none where no stimulus took part.

    Examples
    --------
    >>> seen_lines([{"encoder": "mine", "seen_in_training": {"fitted": 24, "validated": 6}}], 30)
    ['seen in training: mine was fitted to 24 of these 30 stimuli, and its epoch chosen on 6; expect less of others']
    """
    alike: dict[tuple[int, int], list[str]] = {}
    for one in encoders:
        seen = one.get(SEEN)
        if seen and any(seen.values()):
            names = alike.setdefault((seen["fitted"], seen["validated"]), [])
            if one["encoder"] not in names:
                names.append(one["encoder"])
    lines: list[str] = []
    for (fitted, validated), names in alike.items():
        one = len(names) == 1
        was, epoch = ("was", "its epoch") if one else ("were", "their epochs")
        told = f"{was} fitted to {fitted:,} of these {stimuli:,} stimuli" if fitted else ""
        if fitted and validated:
            told += f", and {epoch} chosen on {validated:,}"
        elif validated:
            told = f"had {epoch} chosen on {validated:,} of these {stimuli:,} stimuli"
        lines.append(f"seen in training: {', '.join(names)} {told}; expect less of others")
    return lines
