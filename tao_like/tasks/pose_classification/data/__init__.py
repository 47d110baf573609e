"""Sequences of skeletons and their classes."""
