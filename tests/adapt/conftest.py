"""Fixtures of this folder."""

from published import publish

__all__ = ["publish"]
