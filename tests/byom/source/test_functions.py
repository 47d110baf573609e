"""Files with functions of their own: written out where they are called, and never without an end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from foreign import model, random_tensor, saved
from onnx import TensorProto, helper
from torch.nn import functional

from tao_like.byom.importing import import_file
from tao_like.byom.source.reading import read_model
from tao_like.errors import BundleError

NODE, DOMAIN = helper.make_node, "own"


def function(
    name: str, nodes: list[onnx.NodeProto], attributes: list[str] | None = None
) -> onnx.FunctionProto:
    """A function of X that gives Y."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_function(DOMAIN, name, ["X"], ["Y"], nodes, opsets, attributes or [])


def with_functions(
    nodes: list[onnx.NodeProto], functions: list[onnx.FunctionProto], *constants: onnx.TensorProto
) -> onnx.ModelProto:
    """A model of an image that brings functions along."""
    proto = model(nodes, {"x": ["n", 3, 8, 8]}, ["y"], list(constants))
    proto.functions.extend(functions)
    proto.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return proto


def test_a_function_is_written_out_with_its_attributes(tmp_path: Path) -> None:
    leak = NODE("LeakyRelu", ["X"], ["A"])
    leak.attribute.append(
        onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    )
    block = function("Block", [leak, NODE("Add", ["A", "X"], ["Y"])], ["slope"])
    outer = function("Outer", [NODE("Block", ["X"], ["Y"], domain=DOMAIN, slope=0.5)])
    nodes = [NODE("Conv", ["x", "w"], ["h"]), NODE("Outer", ["h"], ["y"], domain=DOMAIN)]
    path = saved(with_functions(nodes, [block, outer], random_tensor("w", 4, 3, 3, 3)), tmp_path / "own.onnx")
    result = import_file(path)
    values = torch.rand(2, 3, 8, 8)
    (weight,) = result.imported.module.parameters()
    maps = functional.conv2d(values, weight)
    expected = torch.where(maps < 0, 0.5 * maps, maps) + maps
    torch.testing.assert_close(result.imported.module(values), expected)


def refused(proto: onnx.ModelProto, folder: Path) -> str:
    """Why a file is refused, at once."""
    with pytest.raises(BundleError) as caught:
        read_model(saved(proto, folder / "own.onnx"))
    return str(caught.value)


def test_functions_without_an_end_are_refused(tmp_path: Path) -> None:
    call = [NODE("F", ["x"], ["y"], domain=DOMAIN)]
    itself = function("F", [NODE("F", ["X"], ["Y"], domain=DOMAIN)])
    assert "'F' calls itself" in refused(with_functions(call, [itself]), tmp_path)
    doubling = [function("F0", [NODE("Relu", ["X"], ["Y"])])]
    for level in range(1, 31):
        name = f"F{level - 1}"
        twice = [NODE(name, ["X"], ["A"], domain=DOMAIN), NODE(name, ["A"], ["Y"], domain=DOMAIN)]
        doubling.append(function(f"F{level}", twice))
    top = [NODE("F30", ["x"], ["y"], domain=DOMAIN)]
    assert str(2**30) in refused(with_functions(top, doubling), tmp_path)
    chain = [function("F0", [NODE("Relu", ["X"], ["Y"])])]
    chain += [function(f"F{n}", [NODE(f"F{n - 1}", ["X"], ["Y"], domain=DOMAIN)]) for n in range(1, 60)]
    top = [NODE("F59", ["x"], ["y"], domain=DOMAIN)]
    assert "deep" in refused(with_functions(top, chain), tmp_path)


def test_a_function_reads_no_file_outside_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = helper.make_tensor("v", TensorProto.FLOAT, [4], bytes(16), raw=True)
    value.ClearField("raw_data")
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="../secret.bin")
    nodes = [NODE("Constant", [], ["C"], value=value), NODE("Add", ["X", "C"], ["Y"])]
    proto = with_functions([NODE("F", ["x"], ["y"], domain=DOMAIN)], [function("F", nodes)])
    (tmp_path / "secret.bin").write_bytes(np.ones(4, np.float32).tobytes())
    inner = tmp_path / "model"
    inner.mkdir()
    monkeypatch.chdir(inner)
    assert "outside the model's folder" in refused(proto, inner)
