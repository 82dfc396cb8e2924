"""Decoding methods: ways from the output of a model to words."""
