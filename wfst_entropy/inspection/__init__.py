"""Looking into graphs: figures, pictures, paths, checks, differences and explanations."""

from wfst_entropy.inspection.check import Finding, Severity, check
from wfst_entropy.inspection.draw import Drawing, draw
from wfst_entropy.inspection.explain import Cause, Explanation, explain
from wfst_entropy.inspection.info import FsaInfo, info

__all__ = [
    "Cause",
    "Drawing",
    "Explanation",
    "Finding",
    "FsaInfo",
    "Severity",
    "check",
    "draw",
    "explain",
    "info",
]
