"""Other toolkits' names over this engine; `from wfst_entropy.compat import k2`."""
