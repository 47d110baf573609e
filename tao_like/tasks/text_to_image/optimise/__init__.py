"""Images found by gradient: a canvas is changed until a model of the task `clip` finds that it fits."""
