"""The forms in which boxes come: one module a format, how one is recognized, and how they are written."""
