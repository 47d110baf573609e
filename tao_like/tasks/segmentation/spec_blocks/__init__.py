"""Blocks of the spec. They import no torch."""
