"""Training: options, loss, optimiser, checkpoints, averaging, several processes, logs.

The loop itself stands in the recipe's ``train.py``.
"""
