"""Vocabularies: read from files, or made of captions. Imports no torch."""
