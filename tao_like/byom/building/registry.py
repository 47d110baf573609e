"""Which Python function converts which operation of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tao_like.byom.source.graph import STANDARD_DOMAINS

Converter = Callable[..., Any]
"""Takes a ``NodeView``, gives the node's only ``Value`` or a tuple of them."""
_F = TypeVar("_F", bound=Callable[..., Any])

_Table = dict[tuple[str, str], dict[int, Converter]]
_converters: _Table = {}
_taught: _Table = {}
"""Of the user, apart: whenever they are registered, they come before those that are built in."""
_OWN = "tao_like.byom."
_registered: list[tuple[str, str]] = []
"""What the user has taught, in this order."""


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
    several outputs gives a tuple. It takes the place of what is built in, whatever
    version that is for; of two of your own for the same version the later one counts.

    Args:
        ops: names of operations that this function converts.
        since: the lowest version of the operators for which it is right. A node is converted by the
            function with the highest ``since`` that is not above the file's version.
        domain: of the operation; the standard's is ``""``.
    """

    def register(function: _F) -> _F:
        table = _converters if _module_of(function).startswith(_OWN) else _taught
        for op in ops:
            key = ("" if domain in STANDARD_DOMAINS else domain, op)
            table.setdefault(key, {})[since] = function
            if table is _taught:
                _registered.append(key)
        return function

    return register


def function_for(
    op: str, inputs: int = 1, *, since: int = 1, domain: str = "", **attributes: Any
) -> Callable[[_F], _F]:
    """Register a function that itself does an operation: it takes the inputs, and then the attributes.

    Args:
        op: name of the operation.
        inputs: how many.
        since: as for :func:`converter`.
        domain: likewise.
        attributes: names in the function's order, with what they are where the source leaves them out.
    """

    def register(function: _F) -> _F:
        @converter(op, since=since, domain=domain)
        def convert(node: Any) -> Any:
            given = (node.input(index) for index in range(inputs))
            settings = (node.attribute(name, usual) for name, usual in attributes.items())
            return node.call(function, *given, *settings)

        return function

    return register


def find_converter(domain: str, op: str, opset: int) -> Converter | None:
    """The function for an operation of a version; None where there is none."""
    return _fitting(_taught, domain, op, opset) or _fitting(_converters, domain, op, opset)


def taught_in(domain: str, op: str, opset: int) -> str | None:
    """The name of the file in which the user teaches an operation of a version; None where nobody does."""
    function = _fitting(_taught, domain, op, opset)
    if function is None:
        return None
    code = getattr(function, "__code__", None)
    return _module_of(function) if code is None else Path(code.co_filename).name


def count_taught() -> int:
    """How often the user has taught an operation so far."""
    return len(_registered)


def _fitting(table: _Table, domain: str, op: str, opset: int) -> Converter | None:
    versions = table.get((domain, op), {})
    fitting = [since for since in versions if since <= opset]
    return versions[max(fitting)] if fitting else None


def _module_of(function: Converter) -> str:
    return getattr(function, "__module__", None) or ""
