"""Networks that find objects and their masks."""
