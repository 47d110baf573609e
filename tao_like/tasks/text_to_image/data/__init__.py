"""Images and captions, as networks take them."""
