"""Triplet design: which stimuli to show together, so that every pair is judged, in which order and place."""

from vidsim.data.design.greedy import greedy_cover
from vidsim.data.design.layout import Cost, Layout, check_catch, plan
from vidsim.data.design.pairs import LARGEST, check_cover, cover, fill, pairs_covered, schoenheim
from vidsim.data.design.places import balanced
from vidsim.data.design.source import ids_of

__all__ = [
    "LARGEST",
    "Cost",
    "Layout",
    "balanced",
    "check_catch",
    "check_cover",
    "cover",
    "fill",
    "greedy_cover",
    "ids_of",
    "pairs_covered",
    "plan",
    "schoenheim",
]
