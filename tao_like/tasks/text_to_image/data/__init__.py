"""Pictures and captions, as networks take them."""
