"""The block of a spec that makes an exported network compute in int8."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tao_like.config import Problem, spec_field

ALGORITHMS = ("minmax", "entropy", "percentile")
TARGETS = ("any", "this", "vnni", "arm")

# TAO's keys of quantization that mean nothing here.
IGNORED_TAO_KEYS_OF_QUANTIZATION: Mapping[str, str] = {
    "quantize.backend": "onnxruntime is the backend",
    "quantize.mode": "quantization is static, after the training, but for quantize.dynamic_names",
    "quantize.layers": "weights are int8, values between layers uint8; quantize.skip_names excepts some",
    "quantize.backend_kwargs": "onnxruntime is the backend",
    "quantize.device": "quantization runs on the CPU",
}


@dataclass
class QuantizeSpec:
    """Makes an exported network compute in int8, after its training (static, per channel)."""

    checkpoint: str | None = spec_field(
        None,
        "Bundle, or ONNX file in fp32 that export wrote; empty: what export left in results_dir, else the "
        "bundle of train",
        path=True,
        aliases=("model_path",),
    )
    onnx_file: str | None = spec_field(
        None, "Where to write; empty: results_dir/quantize/model_int8.onnx", path=True
    )
    algorithm: str = spec_field(
        "minmax",
        "Range of the values between layers: all of them (minmax), the clipping that keeps most information "
        "(entropy), or all but the outermost (percentile)",
        choices=ALGORITHMS,
    )
    percentile: float = spec_field(
        99.99, "Fraction of the values inside the range, for algorithm `percentile`", unit="%", ge=50, le=100
    )
    num_samples: int = spec_field(
        200, "Training samples that the ranges come from, spread evenly over the data", ge=1
    )
    skip_names: list[str] = spec_field(
        [], "Layers left in float: parts of their names in the ONNX file, or patterns such as `*/head/*`"
    )
    dynamic_names: list[str] = spec_field(
        [],
        "Layers whose values get their range anew in every call, from the values themselves, in place of "
        "calibration: parts of their names or patterns, of matrix products alone",
    )
    max_drop: float = spec_field(
        0.01,
        "Largest loss of the task's first metric on validation data; where int8 loses more, the layers that "
        "cost most are left in float",
        ge=0,
        le=1,
    )
    search_samples: int = spec_field(
        16, "Training samples on which each layer's cost is measured in that search", ge=1
    )
    target: str = spec_field(
        "any",
        "Processors that the file is for: all (`any`, weights of 7 bits), those like this one (`this`), or "
        "x86 with VNNI or ARM (`vnni`, `arm`: weights of 8 bits, which other processors add up wrongly)",
        choices=TARGETS,
    )
    reduce_range: bool | str | None = spec_field(
        None,
        "Older than target, and decides over it: weights of 7 bits (true) or 8 (false); auto: as this "
        "machine has it; empty: as target says",
        choices=("auto", True, False),
    )
    batch_size: int = spec_field(-1, "Samples at a time in scoring; -1: as dataset.batch_size", ge=-1)
    results_dir: str | None = spec_field(
        None, "Folder of this stage's results; empty: `results_dir/quantize`", path=True
    )

    def check(self) -> Iterator[Problem]:
        """-1 and positive numbers are batch sizes, zero is not; two keys must not contradict each other."""
        if self.batch_size == 0:
            yield Problem("batch_size", "0 is not allowed; give -1 (as dataset.batch_size) or at least 1")
        wanted = {"this": "auto", "vnni": False, "arm": False}
        if self.reduce_range is not None and wanted.get(self.target, self.reduce_range) != self.reduce_range:
            yield Problem(
                "reduce_range",
                f"{str(self.reduce_range).lower()} contradicts target: {self.target}; leave reduce_range out",
            )
