"""Looking into graphs: figures, pictures, paths, checks, differences and explanations."""

from wfst_entropy.inspection.check import Finding, Severity, check
from wfst_entropy.inspection.draw import Drawing, draw
from wfst_entropy.inspection.explain import Cause, Explanation, explain
from wfst_entropy.inspection.info import FsaInfo, info
from wfst_entropy.inspection.paths import Path, PathList, paths

__all__ = [
    "Cause",
    "Drawing",
    "Explanation",
    "Finding",
    "FsaInfo",
    "Path",
    "PathList",
    "Severity",
    "check",
    "draw",
    "explain",
    "info",
    "paths",
]
