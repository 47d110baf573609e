"""Make ``import torchvision`` work where its C++ library does not fit the installed torch.

Import this module before torchvision, and before anything that imports torchvision (timm does).

The torchvision wheel on PyPI is built against CUDA. Beside a CPU build of torch its C++ library cannot be
loaded, which torchvision accepts in silence: it goes on without its compiled operators. A few lines later
it attaches Python implementations to two of those operators, ``nms`` and ``qnms``, and stops with
``RuntimeError: operator torchvision::nms does not exist``, since the library would have declared them. So
the whole package is lost for the sake of operators that image classification never calls.

Declaring the two operators without an implementation is enough: transforms, datasets, models and timm then
work, and a call of ``torchvision.ops.nms`` still fails with torchvision's own explanation. Where torchvision
can be imported, nothing is declared: to declare an operator that its library declares later ends the process.
"""

from __future__ import annotations

import importlib
import importlib.util

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def declare_missing_operators() -> torch.library.Library | None:
    """Declare torchvision's operators if it cannot be imported for the lack of them.

    Returns:
        The library that holds the declarations (they live as long as it does), or None when there was
        nothing to do.
    """
    if importlib.util.find_spec("torchvision") is None:
        return None
    try:
        # Not its library alone: where that lies and what it is called changes with torchvision's version.
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    else:
        return None
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    return library


_DECLARATIONS = declare_missing_operators()
