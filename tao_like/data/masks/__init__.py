"""Masks of objects: COCO's runs and polygons, as pixels and back."""
