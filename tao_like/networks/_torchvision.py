"""Make ``import torchvision`` work where its C++ library does not fit the installed torch.

Import this module before torchvision, and before anything that imports torchvision (timm does).

The torchvision wheel on PyPI is built against CUDA. Beside a CPU build of torch its C++ library cannot be
loaded, which torchvision accepts in silence: it goes on without its compiled operators. A few lines later
it attaches Python implementations to two of those operators, ``nms`` and ``qnms``, and stops with
``RuntimeError: operator torchvision::nms does not exist``, since the library would have declared them. So
the whole package is lost for the sake of operators that image classification never calls.

Declaring the two operators without an implementation is enough: transforms, datasets, models and timm then
work, and a call of ``torchvision.ops.nms`` still fails with torchvision's own explanation. Where the
library loads, this module changes nothing.
"""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _library_file() -> Path | None:
    """Return torchvision's C++ library, or None where torchvision or the library is not installed."""
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent
    candidates = (folder / f"_C{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((file for file in candidates if file.is_file()), None)


def _operators_are_declared() -> bool:
    return hasattr(torch.ops.torchvision, "nms")


def declare_missing_operators() -> torch.library.Library | None:
    """Declare torchvision's operators if its C++ library cannot do it.

    Returns:
        The library that holds the declarations (they live as long as it does), or None when there was
        nothing to do.
    """
    if importlib.util.find_spec("torchvision") is None or _operators_are_declared():
        return None
    library_file = _library_file()
    if library_file is not None:
        # An OSError means: built for another torch or CUDA. torchvision goes on without it, and so do we.
        with suppress(OSError):
            # Loading twice is harmless: torchvision's own import finds the library loaded.
            torch.ops.load_library(str(library_file))
        if _operators_are_declared():
            return None
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    return library


_DECLARATIONS = declare_missing_operators()
