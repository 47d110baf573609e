"""Networks for skeleton sequences: ST-GCN and ST-GCN++."""
