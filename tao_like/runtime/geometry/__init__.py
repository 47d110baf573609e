"""Where boxes lie, how much they have in common, which to keep."""
