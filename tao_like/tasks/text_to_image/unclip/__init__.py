"""unCLIP's networks as one, what they learn by, and the graphs in which they ship."""
