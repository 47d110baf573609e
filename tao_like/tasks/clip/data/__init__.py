"""Images with captions as the stages see them."""
