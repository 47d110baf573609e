"""Masks and boxes of the objects of an image."""
