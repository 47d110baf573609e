"""A foreign graph becomes a network with the same outputs, whose weights train."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from foreign import classifier, model, random_tensor, tensor
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from tao_like.byom import convert, converter
from tao_like.byom.accounting import account
from tao_like.byom.conversion import Imported
from tao_like.byom.source.batches import free_batch
from tao_like.errors import ConversionError


def in_onnxruntime(proto: onnx.ModelProto, *inputs: np.ndarray) -> list[np.ndarray]:
    """The outputs of the source."""
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))


def images(*shape: int) -> np.ndarray:
    """Random inputs."""
    return np.random.default_rng(1).random(shape, dtype=np.float32)


def assert_same_outputs(imported: Imported, proto: onnx.ModelProto, *inputs: np.ndarray) -> None:
    """Both give the same for the same inputs."""
    with torch.inference_mode():
        given = imported.module(*(torch.from_numpy(value) for value in inputs))
    outputs = given if isinstance(given, tuple) else (given,)
    for one, expected in zip(outputs, in_onnxruntime(proto, *inputs), strict=True):
        np.testing.assert_allclose(one.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
def test_a_classifier_answers_alike_at_any_batch_and_size(opset: int) -> None:
    proto = classifier(side="side", opset=opset)
    imported = convert(proto)
    for shape in ((1, 3, 32, 32), (5, 3, 48, 48)):
        assert_same_outputs(imported, proto, images(*shape))


def test_modules_are_real_and_named_after_the_source() -> None:
    imported = convert(classifier())
    kinds = {name: type(module) for name, module in imported.module.named_modules()}
    assert kinds["stem"] is nn.Conv2d
    assert kinds["bn"] is nn.BatchNorm2d
    assert kinds["head"] is nn.Linear
    names = {name for name, _ in imported.module.named_parameters()}
    assert {"stem.weight", "stem.bias", "deep.weight", "head.weight", "head.bias", "bn.weight"} <= names


def test_a_training_step_changes_weights_and_statistics_and_nothing_else() -> None:
    imported = convert(classifier())
    module = imported.module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    loss = nn.functional.nll_loss(module(torch.rand(8, 3, 32, 32)).log(), torch.arange(8) % 4)
    loss.backward()
    optimizer.step()
    same = {name for name, value in module.state_dict().items() if torch.equal(value, before[name])}
    assert same == set()
    again = module(torch.rand(8, 3, 32, 32))
    module.eval()
    frozen = {name: value.clone() for name, value in module.state_dict().items()}
    module(torch.rand(8, 3, 32, 32))
    assert again.shape == (8, 4)
    assert all(torch.equal(value, frozen[name]) for name, value in module.state_dict().items())


def test_every_float_of_the_file_is_accounted_for() -> None:
    proto = classifier()
    report = account(convert(proto))
    floats = {item.name for item in proto.graph.initializer if item.data_type == TensorProto.FLOAT}
    named = {name for role in report["roles"].values() for name in role["names"]}
    assert named == floats
    assert set(report["roles"]["statistic"]["names"]) == {"bn.mean", "bn.var"}
    assert not report["roles"]["statistic"]["trains"]
    assert report["trainable_share"] == 1.0
    # Counted by hand: 3*8*9 + 8, 2*8, 8*16*9, 16*4 + 4.
    assert report["parameters"] == 216 + 8 + 16 + 1152 + 68


@pytest.mark.parametrize(
    ("name", "values", "role"),
    [
        ("Add", np.random.default_rng(0).standard_normal((1, 9, 6)), "embedding weight"),
        ("Mul", np.random.default_rng(0).standard_normal(6), "affine weight"),
        ("Add", np.random.default_rng(0).standard_normal(6), "bias"),
        ("Add", np.where(np.eye(9, 6), 0, -100.0), "mask"),
        ("Add", np.tile(np.arange(9.0)[:, None], (1, 6)), "grid"),
        ("Mul", [2.5], "scalar"),
    ],
)
def test_operands_get_roles_by_what_they_are(name: str, values: object, role: str) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node(name, ["r", "c"], ["z"]),
        helper.make_node("MatMul", ["z", "v"], ["y"]),
    ]
    constants = [random_tensor("w", 5, 6), tensor("c", values), random_tensor("v", 6, 2, seed=1)]
    proto = model(nodes, {"x": ["n", 9, 5]}, ["y"], constants)
    imported = convert(proto)
    assert {use.role for use in imported.uses if use.name == "c"} == {role}
    assert_same_outputs(imported, proto, images(2, 9, 5))


def test_the_scaling_of_images_does_not_train() -> None:
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["a"]),
        helper.make_node("Div", ["a", "std"], ["b"]),
        helper.make_node("Conv", ["b", "w"], ["y"]),
    ]
    constants = [
        tensor("mean", np.reshape([123.0, 116.5, 103.2], (1, 3, 1, 1))),
        tensor("std", np.reshape([58.1, 57.3, 57.9], (1, 3, 1, 1))),
        random_tensor("w", 4, 3, 3, 3),
    ]
    imported = convert(model(nodes, {"x": ["n", 3, 8, 8]}, ["y"], constants))
    assert {use.role for use in imported.uses if use.name in ("mean", "std")} == {"image scaling"}
    assert [name for name, _ in imported.module.named_parameters()] == ["Conv_2.weight"] or len(
        list(imported.module.parameters())
    ) == 1


def test_weights_that_are_used_twice_stay_one_weight() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "shared.weight"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "shared.weight"], ["y"], pads=[1, 1, 1, 1]),
    ]
    proto = model(nodes, {"x": ["n", 4, 8, 8]}, ["y"], [random_tensor("shared.weight", 4, 4, 3, 3)])
    imported = convert(proto)
    assert sum(value.numel() for value in imported.module.parameters()) == 4 * 4 * 9
    assert_same_outputs(imported, proto, images(2, 4, 8, 8))


def test_norms_that_begin_alike_are_not_tied() -> None:
    parts = ["one", "zero", "zero", "one"]
    nodes = [
        helper.make_node("BatchNormalization", ["x", *parts], ["a"]),
        helper.make_node("BatchNormalization", ["a", *parts], ["y"]),
    ]
    constants = [tensor("one", np.ones(4)), tensor("zero", np.zeros(4))]
    imported = convert(model(nodes, {"x": ["n", 4, 8, 8]}, ["y"], constants))
    assert sum(value.numel() for value in imported.module.parameters()) == 2 * 2 * 4


def test_weights_in_constant_nodes_train_too() -> None:
    weight = random_tensor("", 4, 3, 3, 3)
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weight),
        helper.make_node("Identity", ["w"], ["same"]),
        helper.make_node("Conv", ["x", "same"], ["y"]),
    ]
    imported = convert(model(nodes, {"x": ["n", 3, 8, 8]}, ["y"]))
    assert [value.shape for value in imported.module.parameters()] == [(4, 3, 3, 3)]
    assert {use.role for use in imported.uses if use.name == "w"} == {"weight"}


def test_a_file_for_one_sample_takes_many() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["c", "sizes"], ["r"]),
        helper.make_node("Transpose", ["r"], ["y"], perm=[0, 2, 1]),
    ]
    constants = [random_tensor("w", 6, 3, 3, 3), tensor("sizes", [1, 6, -1], np.int64)]
    proto = model(nodes, {"x": [1, 3, 8, 8]}, ["y"], constants)
    free = free_batch(proto)
    assert free is not None
    given = images(3, 3, 8, 8)
    with torch.inference_mode():
        together = convert(free).module(torch.from_numpy(given)).numpy()
    single = np.concatenate([in_onnxruntime(proto, given[i : i + 1])[0] for i in range(3)])
    np.testing.assert_allclose(together, single, rtol=1e-4, atol=1e-5)


def test_unknown_operations_are_listed_all_at_once_with_their_nodes() -> None:
    nodes = [
        helper.make_node("Juggle", ["x"], ["a"], "first", domain="com.circus"),
        helper.make_node("Juggle", ["a"], ["b"], "second", domain="com.circus"),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Vanish", ["c"], ["y"], "third", domain="com.circus"),
    ]
    with pytest.raises(ConversionError) as caught:
        convert(model(nodes, {"x": [1, 4]}, ["y"]))
    text = str(caught.value)
    assert "com.circus.Juggle (2): first, second" in text
    assert "com.circus.Vanish (1): third" in text
    assert "@converter" in text
    assert "Relu" not in text


def test_an_operation_can_be_taught_by_version() -> None:
    @converter("Cube", domain="org.example.tests")
    def cube(node):  # type: ignore[no-untyped-def]
        return node.call(torch.pow, node.input(0), node.attribute("exponent", 3))

    @converter("Cube", domain="org.example.tests", since=2)
    def cube_and_one(node):  # type: ignore[no-untyped-def]
        return node.call(torch.add, node.call(torch.pow, node.input(0), 3), 1)

    proto = model([helper.make_node("Cube", ["x"], ["y"], domain="org.example.tests")], {"x": [2]}, ["y"])
    for version, expected in ((1, [8.0, 27.0]), (5, [9.0, 28.0])):
        del proto.opset_import[:]
        proto.opset_import.extend(
            [helper.make_opsetid("", 17), helper.make_opsetid("org.example.tests", version)]
        )
        assert convert(proto).module(torch.tensor([2.0, 3.0])).tolist() == expected


def test_names_of_the_file_never_become_code() -> None:
    evil = "x; import os; os.abort() #"
    nodes = [
        helper.make_node("Conv", [evil, "'); raise SystemExit('.weight"], ["class"], "__class__\n\tpass"),
        helper.make_node("Relu", ["class"], ["forward"], "forward"),
        helper.make_node("Conv", ["forward", "parameters.weight"], ["lambda"], "training"),
    ]
    constants = [
        random_tensor("'); raise SystemExit('.weight", 4, 3, 1, 1),
        random_tensor("parameters.weight", 4, 4, 1, 1),
    ]
    imported = convert(model(nodes, {evil: ["n", 3, 4, 4]}, ["lambda"], constants))
    assert imported.module(torch.rand(2, 3, 4, 4)).shape == (2, 4, 4, 4)
    assert all(name.replace(".", "").replace("_", "").isalnum() for name in imported.module.state_dict())
    assert "abort()" not in imported.module.code
    assert list(imported.module.parameters())


def test_names_of_attributes_never_become_code_either() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "one"], ["n"], **{"a=exit(7), b": 1}),
        helper.make_node("Concat", ["n", "rest"], ["t"], **{"axis": 0, "x=__import__('os').abort(), y": 1}),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    constants = [tensor("zero", [0], np.int64), tensor("one", [1], np.int64), tensor("rest", [-1], np.int64)]
    imported = convert(model(nodes, {"x": ["n", 2, 3]}, ["y"], constants))
    assert "exit" not in imported.module.code
    assert "abort" not in imported.module.code
    assert imported.module(torch.rand(4, 2, 3)).shape == (4, 6)


def test_a_branch_and_a_loop_run() -> None:
    def body(name: str, nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], outputs: list[str]):  # type: ignore[no-untyped-def]
        kinds = [
            helper.make_tensor_value_info(item, TensorProto.BOOL if item == "go" else TensorProto.FLOAT, None)
            for item in outputs
        ]
        return helper.make_graph(nodes, name, inputs, kinds)

    yes = body("yes", [helper.make_node("Mul", ["x", "two"], ["doubled"])], [], ["doubled"])
    no = body("no", [helper.make_node("Neg", ["x"], ["negative"])], [], ["negative"])
    step = body(
        "step",
        [
            helper.make_node("Identity", ["in_go"], ["go"]),
            helper.make_node("Add", ["carried", "two"], ["more"]),
        ],
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("in_go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        ["go", "more"],
    )
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "nought"], ["positive"]),
        helper.make_node("If", ["positive"], ["chosen"], then_branch=yes, else_branch=no),
        helper.make_node("Loop", ["three", "", "chosen"], ["y"], body=step),
    ]
    constants = [tensor("two", 2.0), tensor("nought", 0.0), tensor("three", 3, np.int64)]
    imported = convert(model(nodes, {"x": [2]}, ["y"], constants))
    assert imported.module(torch.tensor([1.0, 2.0])).tolist() == [8.0, 10.0]
    assert imported.module(torch.tensor([-1.0, -2.0])).tolist() == [7.0, 8.0]


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("reshaped", [False, True])
def test_a_bias_that_is_added_becomes_the_layers_own(op: str, reshaped: bool) -> None:
    nodes = [
        helper.make_node(op, ["x", "w"], ["c"], "layer"),
        helper.make_node("Add", ["c", "b"], ["y"]),
    ]
    weight = random_tensor("w", 6, 3, 1, 1) if op == "Conv" else random_tensor("w", 3, 6, 1, 1)
    bias = [random_tensor("b", 1, 6, 1, 1)]
    if reshaped:
        nodes.insert(0, helper.make_node("Reshape", ["flat", "sizes"], ["b"]))
        bias = [random_tensor("flat", 6), tensor("sizes", [1, -1, 1, 1], np.int64)]
    imported = convert(model(nodes, {"x": ["n", 3, 4, 4]}, ["y"], [weight, *bias]))
    assert {name: value.shape for name, value in imported.module.named_parameters()} == {
        "layer.weight": tuple(weight.dims),
        "layer.bias": (6,),
    }
    values = numpy_helper.to_array(bias[0]).reshape(-1)
    with torch.inference_mode():
        given = imported.module(torch.zeros(2, 3, 4, 4))
    np.testing.assert_allclose(given.numpy(), np.broadcast_to(values[:, None, None], (2, 6, 4, 4)), atol=1e-6)


def enlarged(opset: int) -> list[onnx.NodeProto]:
    """The value `b` twice as large, in the words of an old opset, as `u`."""
    if opset < 9:
        return [helper.make_node("Upsample", ["b"], ["u"], mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])]
    return [helper.make_node("Upsample" if opset == 9 else "Resize", ["b", "scales"], ["u"], mode="nearest")]


def part(opset: int) -> list[onnx.NodeProto]:
    """The inner columns of the value `p`, in the words of an old opset, as `s`."""
    if opset < 10:
        return [helper.make_node("Slice", ["p"], ["s"], axes=[3], starts=[1], ends=[-1])]
    return [helper.make_node("Slice", ["p", "starts", "ends", "axes"], ["s"])]


@pytest.mark.parametrize("opset", [7, 8, 9, 10])
def test_old_opsets_say_the_same_in_other_words(opset: int) -> None:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["c"], "stem", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["b"], "bn"),
        *enlarged(opset),
        node("Clip", ["u"], ["k"], min=0.0, max=1.5),
        node("Dropout", ["k"], ["d"], ratio=0.5),
        node("Pad", ["d"], ["p"], mode="reflect", pads=[0, 0, 1, 1, 0, 0, 1, 1]),
        *part(opset),
        node("ReduceMean", ["s"], ["m"], axes=[2, 3], keepdims=0),
        node("Unsqueeze", ["m"], ["m4"], axes=[2, 3]),
        node("Squeeze", ["m4"], ["m2"], axes=[2, 3]),
        node("Gemm", ["m2", "head", "bias"], ["g"], "head", transB=1),
        # Before opset 13, softmax goes over all axes from `axis` on.
        node("Unsqueeze", ["g"], ["g3"], axes=[2]),
        node("Softmax", ["g3"], ["y"], axis=1),
    ]
    constants = [
        random_tensor("w", 8, 3, 3, 3),
        tensor("scale", np.linspace(0.5, 1.5, 8) ** 2),
        random_tensor("shift", 8, seed=1),
        random_tensor("mean", 8, seed=2),
        tensor("var", np.full(8, 0.7)),
        random_tensor("head", 4, 8, seed=3),
        random_tensor("bias", 4, seed=4),
    ]
    if opset >= 9:
        constants.append(tensor("scales", [1, 1, 2, 2]))
    if opset >= 10:
        names = {"starts": [1], "ends": [-1], "axes": [3]}
        constants += [tensor(name, values, np.int64) for name, values in names.items()]
    proto = model(nodes, {"x": ["n", 3, 16, 16]}, ["y"], constants, opset)
    proto.ir_version = 4
    imported = convert(proto)
    assert_same_outputs(imported, proto, images(3, 3, 16, 16))
    assert {"stem.weight", "bn.weight", "head.weight"} <= imported.parameters.keys()


def one_node(op: str, inputs: list[object], values: np.ndarray, **attributes: object) -> list[float]:
    """What a converted node gives for an input; the other inputs are constants."""
    names = ["x", *("" if value is None else f"c{index}" for index, value in enumerate(inputs))]
    constants = [
        tensor(f"c{index}", value, np.asarray(value).dtype)
        for index, value in enumerate(inputs)
        if value is not None
    ]
    node = helper.make_node(op, names, ["y"], **attributes)
    proto = model([node], {"x": list(values.shape)}, ["y"], constants)
    result: list[float] = convert(proto).module(torch.from_numpy(values)).flatten().tolist()
    return result


def test_a_last_window_that_would_start_in_the_border_is_left_out() -> None:
    values = np.array([[[1.0, 2.0, 3.0, 5.0]]], np.float32)
    settings = {"kernel_shape": [2], "strides": [3], "pads": [1, 1], "ceil_mode": 1}
    assert one_node("AveragePool", [], values, **settings) == [1.0, 4.0]
    assert one_node("AveragePool", [], values, **settings, count_include_pad=1) == [0.5, 4.0]


def test_nearest_neighbours_follow_the_factor_and_not_the_sizes() -> None:
    values = np.array([[[[1.0, 2.0]]]], np.float32)
    scales = np.array([1, 1, 1, 2.3], np.float32)
    settings = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    # Four positions: 0, 1, 2 and 3 over 2.3, rounded down.
    assert one_node("Resize", [None, scales], values, **settings) == [1.0, 1.0, 1.0, 2.0]


def test_a_backward_slice_may_be_empty() -> None:
    values = np.arange(6, dtype=np.float32)
    parts = [np.array([one], np.int64) for one in (-5, -1, 0, -1)]
    assert one_node("Slice", parts, values) == []
    parts = [np.array([one], np.int64) for one in (-9, -20, 0, -1)]
    assert one_node("Slice", parts, values) == []
