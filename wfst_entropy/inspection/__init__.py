"""Looking into graphs: figures, pictures, paths, checks, differences and explanations."""

from wfst_entropy.inspection.check import Finding, Severity, check
from wfst_entropy.inspection.draw import Drawing, draw
from wfst_entropy.inspection.info import FsaInfo, info

__all__ = ["Drawing", "Finding", "FsaInfo", "Severity", "check", "draw", "info"]
