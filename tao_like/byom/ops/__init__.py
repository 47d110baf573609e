"""The operations that are known. Importing this package registers them all."""

from tao_like.byom.ops import control, quantized  # noqa: F401
from tao_like.byom.ops.neural import (  # noqa: F401
    activations,
    attention,
    convolution,
    deformable,
    linear,
    normalization,
    pooling,
    recurrent,
    resizing,
    vision,
)
from tao_like.byom.ops.tensor import elementwise, indexing, reduction, shaping  # noqa: F401
