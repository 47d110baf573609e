"""What a run of quantize says about its file: sentences, and the parts of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tao_like.stages.lib.folders import model_bytes
from tao_like.stages.lib.latency import Latency
from tao_like.stages.lib.processor import Processor, busy_note
from tao_like.stages.quantize.search import Search
from tao_like.stages.quantize.target import Target, measurement_note
from tao_like.tracking import Run


def report_both_forms(
    run: Run,
    origin: Path,
    files: Mapping[str, Path],
    metrics: Mapping[str, dict[str, float]],
    latencies: Mapping[str, Latency],
    search: Search,
    max_drop: float,
    processor: Processor,
    target: Target,
    own: Mapping[str, Any],
) -> dict[str, Any]:
    """What report.json says of any quantized model; its drawbacks are told as warnings.

    Args:
        run: takes the warnings.
        origin: what the user named.
        files: file or folder of each form, ``fp32`` and ``int8``.
        metrics: of each form on the validation data; empty where there is none.
        latencies: of each form.
        search: what was tried.
        max_drop: largest loss allowed.
        processor: this machine's.
        target: the processors that the model is for.
        own: what a model of this kind adds.
    """
    for note in (measurement_note(target, processor), busy_note()):
        if note:
            run.warning(note)
    report: dict[str, Any] = {
        "checkpoint": str(origin),
        "onnx_file": str(files["int8"]),
        "bytes": model_bytes(files["int8"]),
        "bytes_fp32": model_bytes(files["fp32"]),
        "split": "val" if metrics["fp32"] else None,
        "metrics": metrics["int8"],
        "metrics_fp32": metrics["fp32"],
        "drop": search.drop if metrics["fp32"] else None,
        "max_drop": max_drop,
        "processor": processor.to_dict(),
        "target": target.to_dict(),
        **own,
        "layer_costs": search.costs,
        "search": [{"float_layers": count, "drop": drop} for count, drop in search.tried],
        "latency": {name: latency_report(one) for name, one in latencies.items()},
        "speed": latencies["fp32"].median_ms / latencies["int8"].median_ms,
    }
    report["drawbacks"] = drawbacks(report)
    for sentence in report["drawbacks"]:
        run.warning(sentence)
    return report


def drawbacks(report: Mapping[str, Any]) -> list[str]:
    """A sentence for each way in which the int8 file is worse than the fp32 file; empty where it is not.

    Args:
        report: with ``bytes``, ``bytes_fp32``, ``latency`` and ``speed``.
    """
    found = []
    if report["speed"] < 1:
        milliseconds = {name: one["median_ms"] for name, one in report["latency"].items()}
        found.append(
            f"int8 is slower than fp32 here ({milliseconds['int8']:.2f} ms, fp32 {milliseconds['fp32']:.2f} "
            "ms): too much of this network has no int8 form, or this processor has none; compare shows both"
        )
    if report["bytes"] > report["bytes_fp32"]:
        found.append(
            f"The int8 file is larger than the fp32 file ({report['bytes']:,} bytes, fp32 "
            f"{report['bytes_fp32']:,}): the network has so few weights that the steps between float and "
            "int8 take more room than the weights save"
        )
    return found


def summary(file: Path, report: Mapping[str, Any], kept: Sequence[str], metric: str) -> list[str]:
    """The lines at the end of a run.

    Args:
        file: that was written.
        kept: names of the layers left in float.
        metric: the one that was held.
    """
    lines = [
        f"{file} ({report['bytes'] / 1e6:.1f} MB, fp32 {report['bytes_fp32'] / 1e6:.1f} MB)",
        f"{len(report['int8_layers'])} layers in int8, {len(kept)} in float"
        + (f": {', '.join(kept[:5])}{' ...' if len(kept) > 5 else ''}" if kept else ""),
        f"For processors: {report['target']['processors']} (weights of {report['target']['weight_bits']} "
        "bits)",
    ]
    if report["metrics"]:
        lines.append(
            f"{metric} on val: {report['metrics'][metric]:.4f}, fp32 {report['metrics_fp32'][metric]:.4f}"
        )
    before, after = report["latency"]["fp32"], report["latency"]["int8"]
    lines.append(
        f"Latency {after['median_ms']:.2f} ms, fp32 {before['median_ms']:.2f} ms: {report['speed']:.2f} "
        f"times as fast (batch 1, medians of {after['rounds']} turns)"
    )
    return [*lines, *report["drawbacks"]]


def latency_report(latency: Latency) -> dict[str, Any]:
    """The times of one form, for report.json."""
    return {
        "median_ms": latency.median_ms,
        "p95_ms": latency.p95_ms,
        "rounds": len(latency.samples_ms),
        "batch": latency.batch,
    }
