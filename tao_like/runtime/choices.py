"""What the keys of a spec may choose, and the runtime knows. No array library: a spec is read without one."""

from __future__ import annotations

WORDS, BPE = "words", "bpe"
"""Vocabularies of whole words, and of byte pairs."""
LONGEST_CONTEXT = 4096
"""Most tokens of a text."""

PREDICTIONS = ("epsilon", "v", "x0")
"""What a diffusion network says: the noise, the velocity, or the image."""
SAMPLERS = ("ddim", "ddpm")
LEARNED_RANGE = "learned_range"
VARIANCES = ("fixed_small", "fixed_large", LEARNED_RANGE)
SCHEDULES = ("squaredcos_cap_v2", "linear")
PRIORS = DIFFUSION, CODES = ("diffusion", "autoregressive")
"""unCLIP's embedding out of noise, standardized; or its principal components, rounded, one after another."""
CONDITIONS = ("prior", "text", "caption")
"""Where the decoder's embedding comes from: the prior; the caption's own in its place; or there is none."""
TURN = 0.5
"""How far words turn an embedding at the most (Ramesh et al. 2022, section 3.3: 0.25 to 0.5)."""
