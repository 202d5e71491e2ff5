"""Fixtures of this folder."""

from published import clips, publish

__all__ = ["clips", "publish"]
