"""The backend node tests that the onnx package ships, as a table: operation, passed, failed, unsupported.

    python benchmarks/onnx_coverage.py            # writes benchmarks/onnx_coverage.csv

Left out are operations that no vision model has; EXCLUDED_OPS and EXCLUDED_WORDS say which.
With ``--variants`` every test of an operation with weights is run twice more, with its weights as
initializers and in Constant nodes.

The same tests through onnx2torch, where that is installed (1.5.15: ``pip install --no-deps onnx2torch``):

    python benchmarks/onnx_coverage.py --onnx2torch     # writes benchmarks/onnx_coverage_onnx2torch.csv
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests
from torch import nn

from tao_like.byom.conversion import convert, unknown_operations
from tao_like.byom.source.graph import dtype_of, graph_of
from tao_like.errors import ConversionError

TABLE = Path(__file__).with_suffix(".csv")
OTHER_TABLE = TABLE.with_name("onnx_coverage_onnx2torch.csv")
VARIANT_TABLE = TABLE.with_name("onnx_coverage_weights.csv")
RESULTS = ("passed", "failed", "unsupported")
EXCLUDED_OPS = {
    "sequences, optionals and texts": """ConcatFromSequence OptionalGetElement OptionalHasElement
        RegexFullMatch SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength
        SequenceMap SplitToSequence StringConcat StringNormalizer StringSplit TfIdfVectorizer""",
    "pictures in files": "ImageDecoder",
    "training and losses": """Adagrad Adam Gradient Momentum NegativeLogLikelihoodLoss
        SoftmaxCrossEntropyLoss""",
    "language models": """CausalConvWithState FlexAttention LinearAttention
        RotaryEmbedding SwiGLU""",
    "audio": "BlackmanWindow DFT HammingWindow HannWindow MelWeightMatrix STFT",
    "random numbers": """Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform
        RandomUniformLike""",
    "whole-number arithmetic of quantised models": """ConvInteger DynamicQuantizeLinear
        MatMulInteger QLinearConv QLinearMatMul QuantizeLinear""",
    "trees and labels": "ArrayFeatureExtractor Binarizer LabelEncoder TreeEnsemble",
}
EXCLUDED_WORDS = (
    *(
        "float8",
        "FLOAT8",
        "uint4",
        "int4",
        "UINT4",
        "INT4",
        "float4",
        "FLOAT4",
        "uint2",
        "int2_",
        "INT2",
        "2bit",
    ),
    *("e4m3", "e5m2", "e8m0", "E8M0", "STRING", "string", "_training", "training_", "sequence", "optional"),
    *(
        "rotary",
        "adagrad",
        "adam",
        "momentum",
        "sce_",
        "nllloss",
        "bernoulli",
        "dynamicquantize",
    ),
    *("swiglu", "stft", "hannwindow", "hammingwindow", "blackmanwindow", "causal_conv"),
)
WEIGHTS = {
    "BatchNormalization": (1, 2, 3, 4),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "GRU": (1, 2, 3),
    "Gemm": (1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LSTM": (1, 2, 3, 7),
    "LayerNormalization": (1, 2),
    "MatMul": (1,),
    "RMSNormalization": (1,),
}
"""Operations with weights, and which of their inputs these are."""


@dataclass(frozen=True)
class Outcome:
    """What became of one test."""

    test: str
    op: str
    result: str
    reason: str = ""


def selected() -> Iterator[Any]:
    """The tests of operations that vision models have."""
    excluded = {op for ops in EXCLUDED_OPS.values() for op in ops.split()}
    for case in load_model_tests(kind="node"):
        ops = {node.op_type for node in case.model.graph.node}
        if ops & excluded or any(word in case.name for word in EXCLUDED_WORDS):
            continue
        kinds = (*case.model.graph.input, *case.model.graph.output)
        if all(_is_tensor(item) for item in kinds):
            yield case


def _is_tensor(item: onnx.ValueInfoProto) -> bool:
    return item.type.HasField("tensor_type") and dtype_of(item.type.tensor_type.elem_type) is not None


def operation_of(case: Any) -> str:
    """The operation that a test is for: the only one, or the one that its name begins with."""
    ops = [node.op_type for node in case.model.graph.node]
    return ops[0] if len(set(ops)) == 1 else f"expanded: {case.name.removeprefix('test_').split('_')[0]}"


def ours(model: onnx.ModelProto) -> nn.Module:
    """A model as this project converts it.

    Raises:
        NotImplementedError: an operation is not known.
    """
    if unknown_operations(graph_of(model)):
        raise NotImplementedError
    return convert(model).module


def onnx2torch_module(model: onnx.ModelProto) -> nn.Module:
    """A model as onnx2torch converts it; it raises NotImplementedError for what it does not know."""
    # Where torchvision's compiled part does not load, this makes the import work.
    from tao_like.networks import _torchvision  # noqa: F401

    # isort: split
    import onnx2torch  # type: ignore[import-not-found]

    module: nn.Module = onnx2torch.convert(model)
    return module.eval()


def outcome(
    case: Any,
    model: onnx.ModelProto,
    inputs: list[np.ndarray] | None = None,
    to_module: Callable[[onnx.ModelProto], nn.Module] = ours,
) -> Outcome:
    """Runs a test: every data set must give the reference within its tolerance."""
    op = operation_of(case)
    try:
        module = to_module(model)
        for given, expected in case.data_sets:
            arguments = [to_torch(value) for value in (given if inputs is None else inputs)]
            with torch.inference_mode():
                results = module(*arguments)
            results = results if isinstance(results, tuple) else (results,)
            for value, wanted in zip(results, expected, strict=True):
                _same(value, to_array(wanted), case)
    except NotImplementedError:
        return Outcome(case.name, op, "unsupported")
    except ConversionError as error:
        return Outcome(case.name, op, "failed", str(error).splitlines()[0])
    except Exception as error:  # whatever a wrong conversion does, it has failed
        return Outcome(case.name, op, "failed", f"{type(error).__name__}: {error}".splitlines()[0][:150])
    return Outcome(case.name, op, "passed")


def to_array(value: Any) -> np.ndarray:
    """A value of a test as an array."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def to_torch(value: Any) -> torch.Tensor:
    """An input of a test as a tensor."""
    array = to_array(value)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def _same(value: torch.Tensor, wanted: np.ndarray, case: Any) -> None:
    if value.dtype == torch.bfloat16:
        value, wanted = value.float(), wanted.astype(np.float32)
    actual = value.numpy()
    assert actual.shape == wanted.shape, f"shape {actual.shape} instead of {wanted.shape}"
    assert actual.dtype == wanted.dtype, f"type {actual.dtype} instead of {wanted.dtype}"
    np.testing.assert_allclose(actual, wanted, rtol=case.rtol, atol=case.atol)


def with_weights_inside(case: Any, *, as_nodes: bool) -> tuple[onnx.ModelProto, list[np.ndarray], list[str]]:
    """A test with its weights in the model: the model, the inputs left, the names of float weights."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph, (given, _) = model.graph, case.data_sets[0]
    node = graph.node[0]
    names = [node.input[i] for i in WEIGHTS[node.op_type] if i < len(node.input) and node.input[i]]
    values = {item.name: to_array(value) for item, value in zip(case.model.graph.input, given, strict=True)}
    for name in names:
        tensor = numpy_helper.from_array(values[name], name)
        if as_nodes:
            graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
        else:
            graph.initializer.append(tensor)
    kept = [item for item in graph.input if item.name not in names]
    del graph.input[:]
    graph.input.extend(kept)
    floats = [name for name in names if values[name].dtype.kind == "f"]
    return model, [values[item.name] for item in kept], floats


def has_weights(case: Any) -> bool:
    """Whether a test is of one operation with weights."""
    return len(case.model.graph.node) == 1 and case.model.graph.node[0].op_type in WEIGHTS


def gradient_problem(model: onnx.ModelProto, inputs: list[np.ndarray], names: list[str]) -> str:
    """What is wrong with the gradients of the weights; empty where each weight gets one.

    Statistics are no weights.
    """
    imported = convert(model)
    trained = {use.name: use for use in imported.uses if use.trains}
    for name in names:
        role = next((use.role for use in imported.uses if use.name == name), "unused")
        if role not in ("statistic", "scalar") and name not in trained:
            return f"{name} does not train, it is: {role}"
    imported.module.train()
    results = imported.module(*(to_torch(value) for value in inputs))
    results = results if isinstance(results, tuple) else (results,)
    sum((value.float() ** 2).sum() for value in results if value.is_floating_point()).backward()
    missing = [name for name, value in imported.module.named_parameters() if value.grad is None]
    return f"no gradient for {missing}" if missing else ""


def variants() -> Iterator[Outcome]:
    """Every test with weights, as initializers and as Constant nodes, with gradients."""
    for case in filter(has_weights, selected()):
        for as_nodes in (False, True):
            model, inputs, names = with_weights_inside(case, as_nodes=as_nodes)
            found = outcome(case, model, inputs)
            if found.result == "passed":
                try:
                    problem = gradient_problem(model, inputs, names)
                except Exception as error:  # whatever goes wrong in training is a failure of the conversion
                    problem = f"{type(error).__name__}: {error}".splitlines()[0][:150]
                if problem:
                    found = Outcome(case.name, found.op, "failed", problem)
            kind = "nodes" if as_nodes else "initializers"
            yield Outcome(f"{found.test} ({kind})", found.op, found.result, found.reason)


def table(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Counts by operation."""
    counts: dict[str, Counter[str]] = {}
    for item in outcomes:
        counts.setdefault(item.op, Counter())[item.result] += 1
    return [
        {"op": op, **{result: found[result] for result in RESULTS}} for op, found in sorted(counts.items())
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes a table as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("op", *RESULTS), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Runs the tests, shows what failed and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--onnx2torch", action="store_true")
    parser.add_argument("--only", default="", help="part of a test's name; nothing is written")
    options = parser.parse_args()
    if options.variants:
        outcomes = [item for item in variants() if options.only in item.test]
    else:
        to_module = onnx2torch_module if options.onnx2torch else ours
        cases = (case for case in selected() if options.only in case.name)
        outcomes = [outcome(case, case.model, to_module=to_module) for case in cases]
    for item in outcomes:
        if item.result != "passed":
            print(item.result, item.test, item.reason)
    totals = Counter(item.result for item in outcomes)
    print(len(outcomes), dict(totals))
    if not options.only:
        path = OTHER_TABLE if options.onnx2torch else TABLE
        write(VARIANT_TABLE if options.variants else path, table(outcomes))


if __name__ == "__main__":
    main()
