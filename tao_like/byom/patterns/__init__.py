"""Groups of nodes that an exporter took apart, put together again: norms, activations, attention."""
