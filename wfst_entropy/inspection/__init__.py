"""Looking into graphs: figures, pictures, paths, checks, differences and explanations."""

from wfst_entropy.inspection.check import Finding, Severity, check
from wfst_entropy.inspection.diff import Difference, diff
from wfst_entropy.inspection.draw import Drawing, draw
from wfst_entropy.inspection.explain import Cause, Explanation, explain
from wfst_entropy.inspection.info import FsaInfo, info
from wfst_entropy.inspection.paths import Path, PathList, paths
from wfst_entropy.inspection.planted_scores import planted_scores

__all__ = [
    "Cause",
    "Difference",
    "Drawing",
    "Explanation",
    "Finding",
    "FsaInfo",
    "Path",
    "PathList",
    "Severity",
    "check",
    "diff",
    "draw",
    "explain",
    "info",
    "paths",
    "planted_scores",
]
