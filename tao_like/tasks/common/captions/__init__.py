"""Images with captions, for tasks that learn from both: where they are, and a text as an input."""
