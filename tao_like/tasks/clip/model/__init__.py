"""The two towers, and weights for them."""
