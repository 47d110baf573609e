"""Metrics of LiDAR detection."""
