"""Anchors: those of the papers, and those that fit a data set."""
