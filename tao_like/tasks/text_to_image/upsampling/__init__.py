"""Smaller images to larger ones: what upsamplers learn by, and what they are worth."""
