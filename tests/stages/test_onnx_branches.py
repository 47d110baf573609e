"""A choice with a constant condition is the branch that it takes; another choice stays."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import run_graph

from tao_like.stages.lib.graphs.branches import without_decided_branches


def branch(name: str, kind: str, constant: float | None = None) -> onnx.GraphProto:
    """``kind`` of x, or of x and a constant of the branch itself."""
    values = [] if constant is None else [numpy_helper.from_array(np.float32(constant), f"{name}_constant")]
    inputs = ["x", *(value.name for value in values)]
    node = helper.make_node(kind, inputs, [f"{name}_out"], name=f"{name}_node")
    # The exporter states the traced shape for both branches, right or wrong.
    output = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, [6])
    return helper.make_graph([node], name, [], [output], values)


def choosing(condition: bool, as_node: bool) -> onnx.ModelProto:
    """y = -x, or else x + 10; then 2 y."""
    value = numpy_helper.from_array(np.array(condition), "" if as_node else "condition")
    nodes = [
        helper.make_node(
            "If",
            ["condition"],
            ["chosen"],
            name="choice",
            then_branch=branch("yes", "Neg"),
            else_branch=branch("no", "Add", 10.0),
        ),
        helper.make_node("Add", ["chosen", "chosen"], ["y"], name="last"),
    ]
    if as_node:
        nodes.insert(0, helper.make_node("Constant", [], ["condition"], value=value))
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        [] if as_node else [value],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("as_node", [True, False])
@pytest.mark.parametrize(("condition", "expected"), [(True, [-2, -4]), (False, [22, 24])])
def test_the_branch_that_is_taken_takes_the_place_of_the_choice(
    condition: bool, expected: list[int], as_node: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    model = without_decided_branches(choosing(condition, as_node))
    assert "If" not in [node.op_type for node in model.graph.node]
    assert "condition" not in [tensor.name for tensor in model.graph.initializer]
    onnx.checker.check_model(model, full_check=True)
    values = np.tile(np.array([[1], [2]], np.float32), (1, 3))
    # As anybody opens it: a warning would be on the screen.
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": values})[0].tolist() == [[value] * 3 for value in expected]
    assert capfd.readouterr() == ("", "")


def test_a_choice_by_the_input_stays() -> None:
    model = choosing(True, as_node=True)
    del model.graph.node[0]
    model.graph.input.append(helper.make_tensor_value_info("condition", TensorProto.BOOL, []))
    before = model.SerializeToString()
    assert without_decided_branches(model).SerializeToString() == before
    values = np.ones((2, 3), np.float32)
    assert run_graph(model, x=values, condition=np.array(False)).tolist() == [[22] * 3] * 2
