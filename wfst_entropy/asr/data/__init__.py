"""Data: the synthetic corpus, manifests, features, units and batches."""
