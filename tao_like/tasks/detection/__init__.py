"""Object detection: boxes around the objects of a picture, with a class and a score each."""
