"""The blocks of the spec of pointpillars. Imports no torch."""
