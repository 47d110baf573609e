"""Image classification: one label a picture, or several."""
