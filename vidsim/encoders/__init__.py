"""Encoders: a catalog of cards, one file a family."""
