"""Masks: of objects as COCO's runs and polygons, and images that give each pixel of a photo a class."""
