"""From a model's outputs to predictions, one module for each kind."""
