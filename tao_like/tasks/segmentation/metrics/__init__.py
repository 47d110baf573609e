"""Metrics for segmentation."""
