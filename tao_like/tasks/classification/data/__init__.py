"""Photos and their classes."""
