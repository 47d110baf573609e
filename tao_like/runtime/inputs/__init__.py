"""What a model takes, one module for each kind of input: how it is read and preprocessed."""
