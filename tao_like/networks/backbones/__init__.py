"""The backbones: timm's by name, their sizes and their features."""
