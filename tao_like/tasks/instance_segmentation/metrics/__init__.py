"""How well objects and their masks are found."""
