"""Boxes with scores, for tasks that find objects: predictions and how two lists of them agree."""
