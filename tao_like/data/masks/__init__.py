<<<<<<< HEAD
"""Masks of objects: COCO's runs and polygons, as pixels and back."""
=======
"""Masks: images that say for each pixel of a photo what it shows."""
>>>>>>> segmentation
