"""Losses for segmentation."""
