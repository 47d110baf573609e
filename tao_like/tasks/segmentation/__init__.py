"""Semantic segmentation: the class of every pixel of a photo."""
