"""Images and their boxes: splits, checks, datasets, augmentation."""
