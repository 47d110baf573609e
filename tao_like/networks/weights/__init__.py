"""Pretrained weights: where they come from, and their way into a network."""
