"""A CLIP that sees noisy images and how noisy they are: it guides glide (Nichol et al. 2021, part 2.4)."""
