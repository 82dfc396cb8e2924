"""Speech recognition with weighted finite-state graphs and the entropy of their alignments."""

__version__ = "0.1.0"
