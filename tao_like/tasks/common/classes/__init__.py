"""Scores of classes, for tasks that give a sample one or several: predictions and metrics."""
