"""Blocks of the spec of detection. Imports no torch."""
