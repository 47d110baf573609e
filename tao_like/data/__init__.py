"""Readers, writers and checks of data that tasks share. numpy and Pillow only."""
