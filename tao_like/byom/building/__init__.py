"""From a typed graph to modules and functions: what a converter sees, shape arithmetic, names and roles."""
