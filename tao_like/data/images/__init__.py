"""Labelled images: class folders, CSV lists, caches, and what a folder holds."""
