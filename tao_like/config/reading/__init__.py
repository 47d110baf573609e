"""From a file and ``key=value`` texts to checked values."""
