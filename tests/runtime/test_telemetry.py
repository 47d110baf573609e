"""onnxruntime's telemetry is off: it would leave an identifier and a queue of events in the user's folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

OPEN = "session.run(None, {'x': numpy.zeros(1, numpy.float32)})"
PLAIN = f"import numpy, onnxruntime, sys; session = onnxruntime.InferenceSession(sys.argv[1]); {OPEN}"
OURS = (
    "import numpy, pathlib, sys; from tao_like.runtime.session import open_session; "
    f"session = open_session(pathlib.Path(sys.argv[1])); {OPEN}"
)


def left_in_home(script: str, model: Path, home: Path) -> list[Path]:
    """What a process that runs a model leaves in a new home folder."""
    home.mkdir()
    switches = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in switches}
    # Nothing that it would send gets out of this machine.
    environment |= {"HOME": str(home), "https_proxy": "http://127.0.0.1:9", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", script, str(model)], env=environment, check=True)
    return [path for path in home.rglob("*") if path.is_file()]


def test_running_a_model_leaves_no_trace_for_telemetry(tmp_path: Path) -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "tiny", value[:1], value[1:])
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "tiny.onnx")
    if not left_in_home(PLAIN, tmp_path / "tiny.onnx", tmp_path / "plain"):
        pytest.skip("this onnxruntime has no telemetry on this system")
    assert left_in_home(OURS, tmp_path / "tiny.onnx", tmp_path / "ours") == []
