"""The blocks of the spec, a file for each kind of model and for the stages."""
