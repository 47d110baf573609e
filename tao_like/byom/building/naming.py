"""Names for modules and tensors, made from the source's names and safe to stand in code and in paths."""

from __future__ import annotations

import keyword
import re

from torch import Tensor, nn

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_]+")
_LONGEST = 80
_RESERVED = frozenset(dir(nn.Module())) | {"self", "torch"}
_WEIGHT_ENDINGS = (".weight", "/weight", ".kernel", "/kernel", ".w_0", ".gamma", "/gamma")


def identifier(text: str, fallback: str = "value") -> str:
    """A word of letters, digits and ``_`` that does not begin with a digit and is no keyword of Python."""
    word = _FORBIDDEN.sub("_", text).strip("_")[:_LONGEST] or fallback
    if word[0].isdigit() or keyword.iskeyword(word) or word in _RESERVED:
        word = f"_{word}"
    return word


def module_path(node_name: str, weight_name: str, fallback: str) -> str:
    """The path of a node's module: after its weight where that has a telling name, else after the node.

    >>> module_path("/layer1/layer1.0/conv1/Conv", "onnx::Conv_497", "conv_3")
    'layer1.0.conv1'
    >>> module_path("node_conv2d", "stem.conv.weight", "conv_3")
    'stem.conv'
    """
    for ending in _WEIGHT_ENDINGS:
        if weight_name.endswith(ending):
            return attribute_path(weight_name.removesuffix(ending), fallback)
    atoms = [atom for atom in node_name.split("/") if atom]
    if len(atoms) > 1:
        # The tracing exporter of torch writes /layer1/layer1.0/conv1/Conv.
        path: list[str] = []
        for before, atom in zip(["", *atoms], atoms[:-1], strict=False):
            path.append(atom.removeprefix(f"{before}.") if before else atom)
        return attribute_path(".".join(path), fallback)
    return attribute_path(node_name, fallback)


def attribute_path(name: str, fallback: str) -> str:
    """A name of the source as a dotted path of safe words; numbers may stand alone, as in ``blocks.0``."""
    words = [word for word in re.split(r"[./]", name) if _FORBIDDEN.sub("_", word).strip("_")]
    safe = [word if word.isascii() and word.isdigit() else identifier(word) for word in words]
    # A path that ends in a number, or is one, says nothing where it stands alone.
    return ".".join(safe) if safe and not safe[0].isdigit() else ".".join([fallback, *safe])


class ModuleTree:
    """Puts modules and tensors under a root by path, and finds another path where one is taken."""

    def __init__(self, root: nn.Module) -> None:
        self.root = root
        self._leaves: set[str] = set()

    def add_module(self, path: str, module: nn.Module) -> str:
        """Returns the path at which the module stands."""
        parent, path, word = self._free(path)
        parent.add_module(word, module)
        self._leaves.add(path)
        return path

    def add_tensor(self, path: str, tensor: Tensor, *, trainable: bool) -> str:
        """Returns the path at which the parameter or buffer stands."""
        parent, path, word = self._free(path)
        if trainable:
            parent.register_parameter(word, nn.Parameter(tensor.clone()))
        else:
            parent.register_buffer(word, tensor.clone())
        return path

    def _free(self, path: str) -> tuple[nn.Module, str, str]:
        """The holder, the whole path and the last word of a place that is free."""
        holder, done = self.root, list[str]()
        *above, last = path.split(".")
        for word in above:
            while ".".join([*done, word]) in self._leaves or self._is_tensor(holder, word):
                word += "_"
            if word not in holder._modules:
                holder.add_module(word, nn.Module())
            done.append(word)
            holder = holder.get_submodule(word)
        word, count = last, 1
        while hasattr(holder, word):
            count += 1
            word = f"{last}_{count}"
        return holder, ".".join([*done, word]), word

    @staticmethod
    def _is_tensor(holder: nn.Module, word: str) -> bool:
        return hasattr(holder, word) and word not in holder._modules
