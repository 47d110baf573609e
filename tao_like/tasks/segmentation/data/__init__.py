"""Photos and their masks."""
