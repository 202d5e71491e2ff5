"""Losses of fine-tuning, one a file; all differentiable, and in float32 whatever precision the embeddings come in."""

from vidsim.adapt.losses.distance import cosine_distances, pair_distances, trial_distances
from vidsim.adapt.losses.hybrid import beta_at, hybrid_loss
from vidsim.adapt.losses.retention import retention_loss
from vidsim.adapt.losses.rsa import rsa_loss
from vidsim.adapt.losses.soft import soft_triplet_loss
from vidsim.adapt.losses.triplet import triplet_loss

__all__ = [
    "beta_at",
    "cosine_distances",
    "hybrid_loss",
    "pair_distances",
    "retention_loss",
    "rsa_loss",
    "soft_triplet_loss",
    "trial_distances",
    "triplet_loss",
]
