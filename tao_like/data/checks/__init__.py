"""Checks of data: what was found, duplicates, likely wrong labels, the contact sheet."""
