"""The operations that are known. Importing this package registers them all."""

from tao_like.byom.ops import (  # noqa: F401
    activations,
    attention,
    control,
    convolution,
    deformable,
    elementwise,
    indexing,
    linear,
    normalization,
    pooling,
    quantised,
    recurrent,
    reduction,
    resizing,
    shaping,
    vision,
)
