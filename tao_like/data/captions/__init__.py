"""Images with captions: readers and their check. Imports no torch."""
