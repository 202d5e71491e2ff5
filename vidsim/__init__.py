"""Embedding store and retrieval toolkit for human-aligned video understanding."""

__version__ = "0.1.0"
