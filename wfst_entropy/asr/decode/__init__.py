"""Decoding of test sets: which model and method, its results, scales tuned on dev."""
