"""Embedding store and retrieval toolkit for human-aligned video understanding."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidsim.data.judgments.judgments import Judgments as Judgments
    from vidsim.data.stimuli import StimulusSet as StimulusSet
    from vidsim.embeddings import Embeddings as Embeddings
    from vidsim.errors import VidsimError as VidsimError
    from vidsim.extract import FeatureSpec as FeatureSpec
    from vidsim.retrieval.index import Index as Index
    from vidsim.rsm import RSM as RSM
    from vidsim.store import Store as Store
    from vidsim.triplets import Triplets as Triplets

__version__ = "0.1.0"

_HOMES = {
    "Embeddings": "vidsim.embeddings",
    "FeatureSpec": "vidsim.extract",
    "Index": "vidsim.retrieval.index",
    "Judgments": "vidsim.data.judgments.judgments",
    "RSM": "vidsim.rsm",
    "StimulusSet": "vidsim.data.stimuli",
    "Store": "vidsim.store",
    "Triplets": "vidsim.triplets",
    "VidsimError": "vidsim.errors",
}
__all__ = [
    "RSM",
    "Embeddings",
    "FeatureSpec",
    "Index",
    "Judgments",
    "StimulusSet",
    "Store",
    "Triplets",
    "VidsimError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `import vidsim` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vidsim' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
