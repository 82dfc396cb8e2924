"""The report of a run: tables of what its decodings left behind, and pictures."""
