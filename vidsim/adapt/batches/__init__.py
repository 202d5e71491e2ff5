"""Batches: what each optimiser step of an epoch forwards, and which judgments it is compared with."""

from vidsim.adapt.batches.step import Batches, Counts, Step
from vidsim.adapt.batches.stimuli import StimulusBatches
from vidsim.adapt.batches.trials import TrialBatches

__all__ = ["Batches", "Counts", "Step", "StimulusBatches", "TrialBatches"]
