"""Artefact root: where everything built is kept."""

import os

from vidsim.paths import expand

DEFAULT_ROOT = "indexes"

VARIABLE = "VIDSIM_ROOT"
"""Names the root for all verbs."""


def root_of(root: str) -> str:
    """Return the artefact root with ``~`` expanded; URIs are passed through."""
    return root if "://" in root else os.fspath(expand(root))
