"""Losses of the detectors."""
