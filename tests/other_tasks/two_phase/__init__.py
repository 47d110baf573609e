"""A task that no file of the toolkit knows: it learns colors first, then classes by them."""
