"""The file: read, checked, rewritten where that frees it, and as a typed graph."""
