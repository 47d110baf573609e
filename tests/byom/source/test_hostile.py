"""Files made to do harm, or damaged on the way: one error, no crash, no hang, no foreign file read."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign import classifier, model, random_tensor, saved, tensor
from onnx import TensorProto, helper

from tao_like.byom.importing import import_file
from tao_like.byom.source.reading import read_model
from tao_like.errors import BundleError, ConversionError


def refused(path: Path, *, damaged: bool = True) -> str:
    """The file is refused, and this is why; one that is not damaged is one that cannot be converted."""
    with pytest.raises(ConversionError) as caught:
        import_file(path)
    assert isinstance(caught.value, BundleError) is damaged
    assert caught.value.exit_code == (2 if damaged else 1)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_file(fraction: float, tmp_path: Path) -> None:
    content = classifier().SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(len(content) * fraction)])
    assert "cut.onnx" in refused(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x08\x07", b"hello, this is no model", b"\x00" * 200, b"\xff" * 200, b"\x0a\x03abc"]
)
def test_no_onnx_at_all(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    assert "no ONNX file" in refused(path)


def test_a_zip_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "packed.onnx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.onnx", classifier().SerializeToString())
    assert "zip archive" in refused(path)
    assert "there is no file" in refused(tmp_path / "none.onnx")


def test_every_flipped_byte_is_an_error_or_a_model(tmp_path: Path) -> None:
    content = bytearray(classifier().SerializeToString())
    generator = np.random.default_rng(0)
    path = tmp_path / "flipped.onnx"
    for _ in range(150):
        damaged = bytearray(content)
        # Names and numbers of the graph stand in the first part; the weights are behind them.
        for offset in generator.integers(0, 1200, 3):
            damaged[offset] = int(generator.integers(0, 256))
        path.write_bytes(damaged)
        with contextlib.suppress(ConversionError):
            import_file(path)


@pytest.mark.parametrize("dims", [[2**40], [2**31, 2**31], [-4], [10**6, 10**6, 10**6]])
def test_a_tensor_that_is_declared_huge(dims: list[int], tmp_path: Path) -> None:
    proto = classifier()
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend(dims)
    assert "stem.weight" in refused(saved(proto, tmp_path / "huge.onnx"))


def test_a_tensor_with_less_data_than_it_declares(tmp_path: Path) -> None:
    proto = classifier()
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:40]
    assert refused(saved(proto, tmp_path / "short.onnx"))


def test_a_result_that_would_fill_the_memory(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["sizes"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    proto = model(nodes, {"x": [1, 4]}, ["y"], [tensor("sizes", [10**6, 10**6], np.int64)])
    assert "too large" in refused(saved(proto, tmp_path / "bomb.onnx"), damaged=False)


def test_a_circle(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], "left"),
        helper.make_node("Relu", ["a"], ["b"], "right"),
        helper.make_node("Neg", ["b"], ["y"], "out"),
    ]
    text = refused(saved(model(nodes, {"x": [1, 4]}, ["y"]), tmp_path / "circle.onnx"))
    assert "circle" in text
    assert "left" in text


def test_a_value_that_nothing_makes_and_one_that_two_make(tmp_path: Path) -> None:
    missing = model([helper.make_node("Add", ["x", "ghost"], ["y"])], {"x": [1, 4]}, ["y"])
    assert "ghost" in refused(saved(missing, tmp_path / "missing.onnx"))
    twice = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])]
    assert "y" in refused(saved(model(twice, {"x": [1, 4]}, ["y"]), tmp_path / "twice.onnx"))
    no_output = model([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 4]}, ["elsewhere"])
    assert "elsewhere" in refused(saved(no_output, tmp_path / "output.onnx"))


def test_operators_older_or_newer_than_can_be_read(tmp_path: Path) -> None:
    for version in (3, 999):
        proto = classifier()
        proto.opset_import[0].version = version
        assert str(version) in refused(saved(proto, tmp_path / "version.onnx"))


def external(folder: Path, location: str, **fields: int) -> Path:
    """A model whose first weight lies in another file."""
    proto = classifier()
    weight = proto.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    for key, value in fields.items():
        weight.external_data.add(key=key, value=str(value))
    return saved(proto, folder / "model.onnx")


def test_external_data_is_read_from_the_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    values = np.random.default_rng(3).standard_normal((8, 3, 3, 3)).astype(np.float32)
    (folder / "weights.bin").write_bytes(b"before" + values.tobytes() + b"behind")
    path = external(folder, "weights.bin", offset=6, length=values.nbytes)
    found = onnx.numpy_helper.to_array(read_model(path).graph.initializer[0])
    assert np.array_equal(found, values)

    (tmp_path / "secret.bin").write_bytes(values.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "link.bin", "sub/../../secret.bin"):
        assert "outside" in refused(external(folder, location))
    assert "no such file" in refused(external(folder, "nowhere.bin"))
    assert "cut off" in refused(external(folder, "weights.bin", offset=6, length=10**9))
    assert refused(external(folder, "weights.bin", offset=-5))
    assert refused(external(folder, "a\0b"))


def test_graphs_in_graphs_without_end(tmp_path: Path) -> None:
    kind = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [kind])
    for _ in range(20):
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph)
        graph = helper.make_graph([node], "g", [], [kind])
    proto = classifier()
    proto.graph.node.append(helper.make_node("If", ["x"], ["deep"], then_branch=graph))
    assert "deep" in refused(saved(proto, tmp_path / "deep.onnx"))


def test_a_node_that_is_wrong_is_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], "bent", strides=[0, 0])]
    proto = model(nodes, {"x": [1, 3, 8, 8]}, ["y"], [random_tensor("w", 4, 3, 3, 3)])
    assert refused(saved(proto, tmp_path / "bent.onnx"))


def loop_of(steps: int) -> onnx.ModelProto:
    """A model whose loop takes so many steps."""
    node, info = helper.make_node, helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", ["going"], ["goes"]), node("Add", ["v", "v"], ["w"])],
        "body",
        [
            info("i", TensorProto.INT64, []),
            info("going", TensorProto.BOOL, []),
            info("v", TensorProto.FLOAT, None),
        ],
        [info("goes", TensorProto.BOOL, []), info("w", TensorProto.FLOAT, None)],
    )
    constants = [tensor("most", steps, np.int64), tensor("yes", True, bool)]
    nodes = [node("Loop", ["most", "yes", "x"], ["y"], body=body)]
    return model(nodes, {"x": ["n", 4]}, ["y"], constants)


def test_a_loop_without_an_end_is_given_up(tmp_path: Path) -> None:
    path = saved(loop_of(2**62), tmp_path / "endless.onnx")
    given = ["byom", "convert", "-m", str(path), "-o", str(tmp_path / "m.tltb"), "--time-limit", "2"]
    command = [sys.executable, "-m", "tao_like.cli.main", *given]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "endless.onnx" in ended.stderr
    assert "2 seconds" in ended.stderr
    assert not (tmp_path / "m.tltb").exists()


def test_a_graph_without_inputs_or_outputs(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["b"], ["y"])]
    constant = model(nodes, {}, ["y"], [random_tensor("b", 8)])
    assert "no input" in refused(saved(constant, tmp_path / "constant.onnx"), damaged=False)
    silent = model([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 4]}, [])
    assert "no outputs" in refused(saved(silent, tmp_path / "silent.onnx"))
