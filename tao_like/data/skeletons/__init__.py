"""Skeleton sequences: arrays, annotation files, layouts of joints."""
