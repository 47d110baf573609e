"""Objects as boxes in space, in LiDAR frames."""
