"""Operations on tensors of any meaning: arithmetic, sums along axes, indices and shapes."""
