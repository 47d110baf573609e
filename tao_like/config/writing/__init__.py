"""Specs as text: YAML, JSON schema, commented defaults."""
