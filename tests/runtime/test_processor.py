"""Files whose int8 weights a processor may add up wrongly say so where they are opened."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from tao_like.errors import BundleError
from tao_like.runtime import Pipeline, load, processor, session, write_pipeline
from tao_like.runtime.model import GraphModel

WITHOUT, WITH = "flags\t\t: fpu sse4_2 avx2 avx512f\n", "flags\t\t: fpu avx2 avx512f avx512_vnni\n"


@pytest.mark.parametrize(
    ("text", "machine", "expected"),
    [
        (WITHOUT, "x86_64", True),
        (WITH, "x86_64", False),
        (WITHOUT.replace("avx2", "avx_vnni"), "AMD64", False),
        ("flags : amx_int8\n", "x86_64", False),
        ("Features : fp asimd\n", "aarch64", False),
        (None, "x86_64", True),
        (None, "arm64", False),
    ],
)
def test_which_processors_may_overflow(
    tmp_path: Path, text: str | None, machine: str, expected: bool
) -> None:
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert processor.may_overflow(tmp_path / "cpuinfo", machine) == expected


@pytest.mark.parametrize(
    ("weights", "flags", "warns"),
    [
        ("int8", WITHOUT, True),
        ("int8", WITH, False),
        ("int8, 7 bits", WITHOUT, False),
        (None, WITHOUT, False),
    ],
)
def test_a_file_of_eight_bits_warns_without_vnni(
    write_model: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    weights: str | None,
    flags: str,
    warns: bool,
) -> None:
    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    path = write_model(extra={} if weights is None else {"quantization": {"weights": weights}})
    if warns:
        with pytest.warns(
            RuntimeWarning, match=r"model\.onnx has int8 weights of 8 bits.*quantize\.target=any"
        ) as caught:
            model = load(path)
        assert [one.filename for one in caught] == [__file__]
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = load(path)
    assert isinstance(model, GraphModel)
    assert exact(model._session) is warns


def exact(opened: Any) -> bool:
    """Whether onnxruntime was told to take kernels that do not overflow."""
    name = "session.x64quantprecision"
    try:
        return bool(opened.get_session_options().get_session_config_entry(name) == "1")
    except RuntimeError:  # it has no such entry
        return False


def test_a_model_of_several_graphs_warns_once(
    write_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    path = write_model("model/model.onnx")
    metadata = dataclasses.replace(load(path).metadata, extra={"quantization": {"weights": "int8"}})
    folder = write_pipeline(path.parent, metadata=metadata, graphs={"only": path.name}).parent
    (tmp_path / "cpuinfo").write_text(WITHOUT)
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.warns(RuntimeWarning, match="model has int8 weights of 8 bits") as caught:
        model = load(folder)
    assert [one.filename for one in caught] == [__file__]
    assert isinstance(model, Pipeline)
    assert all(exact(graph._session) for graph in model.graphs.values())


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"quantization": {"weights": "int8, 7 bits"}}, "any"),
        ({"quantization": {"weights": "int8"}}, "x86 with VNNI, ARM"),
        ({"quantization": {}}, None),
        ({"quantization": 5}, None),
        ({}, None),
    ],
)
def test_a_file_says_for_which_processors_it_is(extra: dict[str, Any], expected: str | None) -> None:
    assert processor.processors_of(extra) == expected


def test_a_file_that_cannot_be_opened_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    node = helper.make_node("Nope", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:])
    # onnxruntime fails to put the message of its own error into text, and would try, and say so, twice.
    path = tmp_path / "broken.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString().replace(b"Nope", b"N\xffpe"))
    with pytest.raises(BundleError, match=r"broken\.onnx cannot be opened"):
        load(path)
    assert capfd.readouterr().out == ""


def test_a_file_that_has_no_other_kernels_is_opened_all_the_same(
    write_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(WITHOUT)
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    opened = session.open_session

    def failing(*given: Any, exact_int8: bool = False) -> Any:
        if exact_int8:
            raise BundleError("onnxruntime attempts to replace a tensor")
        return opened(*given)

    monkeypatch.setattr(session, "open_session", failing)
    with pytest.warns(RuntimeWarning, match="its predictions may be wrong here"):
        model = load(write_model(extra={"quantization": {"weights": "int8"}}))
    assert isinstance(model, GraphModel)
    assert not exact(model._session)
