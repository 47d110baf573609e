"""LiDAR frames and their boxes: splits, checks, datasets, augmentation."""
