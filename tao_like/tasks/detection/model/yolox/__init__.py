"""YOLOX (Ge et al. 2021)."""
