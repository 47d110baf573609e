"""timm's networks through ONNX and back: outputs and parameters, by both exporters of torch.

    python benchmarks/byom_timm.py                 # writes benchmarks/byom_timm.csv
    python benchmarks/byom_timm.py resnet18 --exporters trace

Every network has random weights, moved away from their start so that no two layers are equal, and its own
image size. Parameters are kept apart in the file (batch norms are not folded). `missing` are parameters of
the network that none of the converted one's equals in size and sums; `folded_norms` are batch norms that the
exporter put into the convolutions before them: the newer one does. Speed is in byom_speed.py.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import logging
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tao_like.byom.conversion import convert
from tao_like.byom.source.reading import parse_model
from tao_like.networks import _torchvision  # noqa: F401

# isort: split
import timm

TABLE = Path(__file__).with_suffix(".csv")
# fmt: off
FAMILIES = (
    "resnet18", "resnext26ts", "regnetx_002", "densenet121", "mobilenetv2_035",
    "mobilenetv3_small_050", "tf_efficientnet_lite0", "efficientnet_b0", "ghostnet_050", "mnasnet_small",
    "repvgg_a0", "res2net50_14w_8s", "hrnet_w18_small", "convnext_atto", "convnextv2_atto",
    "edgenext_xx_small", "mobilevit_xxs", "poolformer_s12", "efficientformer_l1", "levit_128s",
    "vit_tiny_patch16_224", "deit_tiny_patch16_224", "mixer_s32_224", "swin_tiny_patch4_window7_224",
    "pvt_v2_b0", "coat_lite_tiny", "xcit_nano_12_p16_224",
)
# fmt: on
COLUMNS = (
    *("network", "exporter", "difference", "parameters", "parameters_back", "convert_seconds"),
    *("missing", "folded_norms", "problem"),
)
_BATCH = 4
_SEED = 0


def network(name: str) -> nn.Module:
    """A network of timm with weights of which no two layers are equal."""
    torch.manual_seed(_SEED)
    made = timm.create_model(name, num_classes=10).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return made


def written(made: nn.Module, example: Tensor, exporter: str) -> bytes:
    """The network as ONNX, with an open batch."""
    buffer = io.BytesIO()
    settings: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"]}
    with contextlib.redirect_stdout(io.StringIO()):
        if exporter == "trace":
            settings |= {"dynamo": False, "opset_version": 17, "dynamic_axes": {"x": {0: "n"}}}
            settings["training"] = torch.onnx.TrainingMode.PRESERVE
        else:
            settings |= {"dynamo": True, "opset_version": 18, "external_data": False, "verbose": False}
            settings["dynamic_shapes"] = ({0: torch.export.Dim("n")},)
        torch.onnx.export(made, (example,), buffer, **settings)  # type: ignore[arg-type]
    return buffer.getvalue()


def unmatched(native: nn.Module, imported: nn.Module) -> int:
    """How many parameters of the network have no counterpart: turned or reshaped, a tensor keeps its sums."""

    def sums(module: nn.Module) -> Counter[tuple[int, float]]:
        return Counter(
            (value.numel(), round(float(value.detach().double().square().sum()), 3))
            for value in module.parameters()
        )

    return (sums(native) - sums(imported)).total()


def row(name: str, exporter: str) -> dict[str, Any]:
    """One line of the table."""
    result: dict[str, Any] = {"network": name, "exporter": exporter}
    native = network(name)
    size = native.default_cfg["input_size"]  # type: ignore[index]
    try:
        content = written(native, torch.randn(2, *size), exporter)
    except Exception as error:  # exporters fail in every way there is
        return result | {"problem": f"torch cannot export it: {type(error).__name__}"}
    start = time.perf_counter()
    try:
        imported = convert(parse_model(content)).module
        result["convert_seconds"] = round(time.perf_counter() - start, 2)
        images = torch.randn(_BATCH, *size)
        with torch.inference_mode():
            expected, given = native(images), imported(images)
        result["difference"] = f"{float((expected - given).abs().max() / expected.abs().max()):.1e}"
        result["parameters"], result["parameters_back"] = (
            sum(value.numel() for value in module.parameters()) for module in (native, imported)
        )
        result["missing"] = unmatched(native, imported)
        norms = [
            sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())
            for module in (native, imported)
        ]
        result["folded_norms"] = norms[0] - norms[1]
    except Exception as error:  # a failed conversion is what the table is there to show
        result["problem"] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
    return result


def main() -> None:
    """Runs the networks that are named, or all of the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", help="left out: all of the table, which is then written")
    parser.add_argument("--exporters", nargs="*", default=["trace", "dynamo"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    torch.set_num_threads(1)
    rows = []
    for exporter in options.exporters:
        for name in options.networks or FAMILIES:
            rows.append(row(name, exporter))
            print(rows[-1], flush=True)
            if not options.networks:
                with TABLE.open("w", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(rows)


if __name__ == "__main__":
    main()
