"""Object detection: boxes around the objects of an image, with a class and a score each."""
