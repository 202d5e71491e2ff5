"""Ordinal embedding: a low-dimensional embedding fitted to odd-one-out trials themselves."""

from vidsim.analysis.ordinal.embedding import OrdinalEmbedding, denoised_rsm, fit
from vidsim.analysis.ordinal.validation import Candidate, CrossValidation, HeldOut, candidates, cross_validate

__all__ = [
    "Candidate",
    "CrossValidation",
    "HeldOut",
    "OrdinalEmbedding",
    "candidates",
    "cross_validate",
    "denoised_rsm",
    "fit",
]
