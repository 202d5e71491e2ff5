"""Extraction: encoder x stimuli -> store."""

from vidsim.extract.clip import embed_file
from vidsim.extract.plan import Plan, plan
from vidsim.extract.run import Progress, Report, extract
from vidsim.extract.spec import FeatureSpec

__all__ = ["FeatureSpec", "Plan", "Progress", "Report", "embed_file", "extract", "plan"]
