"""Which Python function converts which operation of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tao_like.byom.source.graph import STANDARD_DOMAINS

Converter = Callable[..., Any]
"""Takes a ``NodeView``, gives the node's only ``Value`` or a tuple of them."""
_F = TypeVar("_F", bound=Callable[..., Any])

_converters: dict[tuple[str, str], dict[int, Converter]] = {}


def converter(*ops: str, since: int = 1, domain: str = "") -> Callable[[_F], _F]:
    """Register a function that converts an operation. The public way to teach the converter a new one.

    The function gets a view of the node and gives the node's outputs back::

        import torch
        from tao_like.byom import converter

        @converter("Cube", domain="com.example")
        def cube(node):
            return node.call(torch.pow, node.input(0), node.attribute("exponent", 3))

        @converter("HardSwish", since=14)
        def hard_swish(node):
            return node.module(torch.nn.Hardswish(), node.input(0))

    ``node.call`` takes a plain torch function, ``node.module`` an ``nn.Module``; ``node.constant(1)`` is
    the tensor of an input that the file itself holds, so that a module can be made of it. A function with
    several outputs gives a tuple. A later registration of the same operation and version
    replaces an earlier one.

    Args:
        ops: names of operations that this function converts.
        since: the lowest version of the operators for which it is right. A node is converted by the
            function with the highest ``since`` that is not above the file's version.
        domain: of the operation; the standard's is ``""``.
    """

    def register(function: _F) -> _F:
        for op in ops:
            key = ("" if domain in STANDARD_DOMAINS else domain, op)
            _converters.setdefault(key, {})[since] = function
        return function

    return register


def find_converter(domain: str, op: str, opset: int) -> Converter | None:
    """The function for an operation of a version; None where there is none."""
    versions = _converters.get((domain, op), {})
    fitting = [since for since in versions if since <= opset]
    return versions[max(fitting)] if fitting else None
