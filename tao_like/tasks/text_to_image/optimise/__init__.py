"""Images found by gradient: whatever canvas is changed until a model of the task `clip` finds that it fits."""
