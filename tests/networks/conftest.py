"""torchvision must be importable before a test imports timm."""

from tao_like.networks import _torchvision  # noqa: F401
