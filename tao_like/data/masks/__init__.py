"""Masks: images that say for each pixel of a photo what it shows."""
