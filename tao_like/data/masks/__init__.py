"""Masks: COCO's runs and polygons of objects, and images that say for each pixel what it shows."""
