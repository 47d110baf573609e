"""Files of very many nodes: what converting and comparing one costs, in seconds of a processor and in memory.

    python benchmarks/byom_nodes.py                       # writes benchmarks/byom_nodes.csv
    python benchmarks/byom_nodes.py --kinds linear --nodes 20000 50000   # the rows that are there
    python benchmarks/byom_nodes.py --profile linear 5000   # where the time goes

Each file is a chain: `elementwise` of Add and Relu, `linear` of MatMul, Add and Relu, `convolution` of Conv,
BatchNormalization and Relu, each layer with weights of its own. Each is converted in a process of its own,
with one thread; `peak_mib` is what that process held at most, torch and onnxruntime among it.
"""

from __future__ import annotations

import argparse
import cProfile
import csv
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = ("kind", "nodes", "cpu_seconds", "ms_a_node", "peak_mib")
KINDS = ("elementwise", "linear", "convolution")
_WIDTH = 8


def write_file(path: Path, kind: str, count: int) -> None:
    """A chain of nodes; values stay of the size that they begin with."""
    draw = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    value = "x"

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def node(op: str, *inputs: str) -> None:
        nonlocal value
        name = f"n{len(nodes)}"
        nodes.append(helper.make_node(op, [value, *inputs], [name], name))
        value = name

    shift = constant("shift", np.array(1e-3))
    while len(nodes) < count:
        name = f"layer{len(nodes)}"
        if kind == "elementwise":
            node("Add", shift)
        elif kind == "linear":
            node("MatMul", constant(f"{name}.weight", np.eye(_WIDTH)[draw.permutation(_WIDTH)]))
            node("Add", constant(f"{name}.bias", draw.uniform(-1e-4, 1e-4, _WIDTH)))
        else:
            weight = np.eye(_WIDTH)[draw.permutation(_WIDTH)].reshape(_WIDTH, _WIDTH, 1, 1)
            node("Conv", constant(f"{name}.weight", weight))
            parts = {"scale": 1.0, "shift": 0.0, "mean": 0.0, "var": 1 - 1e-5}
            node(
                "BatchNormalization",
                *(constant(f"{name}.{word}", np.full(_WIDTH, number)) for word, number in parts.items()),
            )
        node("Relu")
    shape = ["n", _WIDTH, 4, 4] if kind == "convolution" else ["n", _WIDTH]
    graph = helper.make_graph(
        nodes,
        kind,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def measure(kind: str, count: int, *, profile: bool = False) -> dict[str, str]:
    """Converts one file in this process; gives its row."""
    from tao_like.byom.importing import import_file

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chain.onnx"
        write_file(path, kind, count)
        profiler = cProfile.Profile()
        start = time.process_time()
        if profile:
            profiler.enable()
        import_file(path, size=(4, 4))
        profiler.disable()
        seconds = time.process_time() - start
    if profile:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(45)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    values = (kind, str(count), f"{seconds:.1f}", f"{1000 * seconds / count:.2f}", f"{peak:.0f}")
    return dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    """Measures each file in a process of its own, and writes the table."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--nodes", nargs="*", type=int, default=[20_000, 50_000, 120_000])
    parser.add_argument("--profile", nargs=2, metavar=("KIND", "NODES"))
    parser.add_argument("--one", nargs=2, metavar=("KIND", "NODES"), help="in this process; prints the row")
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    if options.profile or options.one:
        kind, count = options.profile or options.one
        print(*measure(kind, int(count), profile=bool(options.profile)).values(), sep=",")
        return
    rows = []
    for kind in options.kinds:
        for count in options.nodes:
            words = [sys.executable, __file__, "--one", kind, str(count)]
            said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            rows.append(said.splitlines()[-1].split(","))
            print(*rows[-1], flush=True)
    with options.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
