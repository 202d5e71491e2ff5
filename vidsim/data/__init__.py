"""Stimuli, video decoding."""
