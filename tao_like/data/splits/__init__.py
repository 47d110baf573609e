"""Dividing data into train, val and test, and a division kept in a bundle."""
