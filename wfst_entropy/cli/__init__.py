"""The command `wfst-entropy`: one file per verb, each a thin shell around the library."""
