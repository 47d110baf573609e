"""Transformers that torch's exporters wrote: any batch, heads that are known, the whole path."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from foreign import model, random_tensor, saved, tensor
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from sample_images import write_class_folders
from test_backbone import settings
from tiny_classification import data_overrides, run
from torch import nn

from tao_like.bundle import GRAPH_ROLES, read_bundle, write_bundle
from tao_like.byom import convert
from tao_like.byom.building import host
from tao_like.byom.importing import GATES, HEADS, from_bundle, import_file, to_bundle
from tao_like.byom.patterns.heads import ImportedAttention
from tao_like.byom.proof.comparison import session
from tao_like.contract.model import Exportable, Prunable
from tao_like.errors import BundleError
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.networks.imported.backbone import build_imported
from tao_like.stages.lib.graphs.writing import to_onnx
from tao_like.stages.prune.units import find_units

# isort: split
import timm

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
SWIN = {"img_size": 32, "window_size": 4, "embed_dim": 16, "depths": (2, 1), "num_heads": (2, 4)}


def exported(network: nn.Module, *, batch: int | None, opset: int = 17, dynamo: bool = False) -> bytes:
    """A network as ONNX, for one sample or (None) for any number."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    example = torch.rand(batch or 2, 3, 32, 32)
    own: dict[str, Any] = {"dynamo": False}
    if dynamo:
        own = {"dynamo": True, "external_data": False, "verbose": False}
    elif batch is None:
        own["dynamic_axes"] = {"x": {0: "n"}, "y": {0: "n"}}
    if dynamo and batch is None:
        own["dynamic_shapes"] = ({0: torch.export.Dim.DYNAMIC},)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"], "opset_version": opset}
        torch.onnx.export(network.eval(), (example,), buffer, **names, **own)  # type: ignore[arg-type]
    return buffer.getvalue()


def outputs(proto: onnx.ModelProto, images: torch.Tensor, *, one_by_one: bool) -> np.ndarray:
    """What onnxruntime gives, for all images at once or for each."""
    running = session(proto)
    name = running.get_inputs()[0].name
    parts = images.split(1) if one_by_one else [images]
    return np.concatenate([running.run(None, {name: part.numpy()})[0] for part in parts])


def again(module: nn.Module) -> onnx.ModelProto:
    """An imported network as this project exports it."""
    form = Exportable(module, {"x": {0: "batch"}}, {"y": {0: "batch"}}, {"y": "outputs"}, lambda one: (one,))
    return to_onnx(form, (torch.rand(2, 3, 32, 32),), dynamic=True, opset=17)[0]


def assert_like_its_file(content: bytes, folder: Path, *, batch: int | None) -> nn.Module:
    """The imported network and what is exported of it give what the file gives, at batch 1, 2 and 3."""
    path = folder / "model.onnx"
    path.write_bytes(content)
    result = import_file(path)
    assert result.largest_difference < 1e-5
    module, source = result.imported.module, onnx.load(path)
    written = again(module)
    for count in (1, 2, 3):
        images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(count))
        expected = outputs(source, images, one_by_one=batch == 1)
        with torch.inference_mode():
            np.testing.assert_allclose(module(images).numpy(), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(outputs(written, images, one_by_one=False), expected, rtol=1e-4, atol=1e-5)
    return module


@pytest.mark.parametrize("batch", [1, None])
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("vit_tiny_patch16_224", VIT),
        ("deit_tiny_distilled_patch16_224", VIT),
        ("swin_tiny_patch4_window7_224", SWIN),
    ],
)
def test_one_that_was_traced_takes_any_batch(
    name: str, sizes: dict[str, Any], batch: int | None, tmp_path: Path
) -> None:
    network = timm.create_model(name, num_classes=5, **sizes)
    module = assert_like_its_file(exported(network, batch=batch), tmp_path, batch=batch)
    own = sum(parameter.numel() for parameter in network.parameters())
    assert sum(parameter.numel() for parameter in module.parameters()) == own


@pytest.mark.parametrize(("batch", "opset"), [(1, 18), (None, 23)])
def test_one_that_was_captured_takes_any_batch(batch: int | None, opset: int, tmp_path: Path) -> None:
    network = timm.create_model("vit_tiny_patch16_224", num_classes=5, **VIT)
    content = exported(network, batch=batch, opset=opset, dynamo=True)
    module = assert_like_its_file(content, tmp_path, batch=batch)
    assert [part.num_heads for part in module.modules() if isinstance(part, ImportedAttention)] == [2, 2]


def test_one_of_transformers_with_queries_keys_and_values_apart(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = transformers.CLIPVisionConfig(**sizes, image_size=32, patch_size=8, projection_dim=8)

    class Embedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = transformers.CLIPVisionModelWithProjection(config)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.network(pixel_values=pixels).image_embeds
            return result

    module = assert_like_its_file(exported(Embedding(), batch=1), tmp_path, batch=1)
    assert [part.num_heads for part in module.modules() if isinstance(part, ImportedAttention)] == [4, 4]


def test_shape_arithmetic_leaves_nothing_but_sizes_in_the_network() -> None:
    """The words in which torch traces `token.expand(len(x), -1, -1)`: of them the batch alone remains."""
    node = helper.make_node
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "first"], ["n"], axis=0),
        node("Unsqueeze", ["n", "zero"], ["n1"]),
        node("Concat", ["n1", "rest", "rest"], ["wanted"], axis=0),
        node("Shape", ["wanted"], ["rank"]),
        node("ConstantOfShape", ["rank"], ["ones"], value=tensor("", [1], np.int64)),
        node("Mul", ["ones", "minus"], ["minuses"]),
        node("Equal", ["wanted", "minuses"], ["same"]),
        node("Where", ["same", "ones", "wanted"], ["sizes"]),
        node("Expand", ["token", "sizes"], ["tokens"]),
        node("Concat", ["tokens", "x"], ["y"], axis=1),
    ]
    constants = [
        *(tensor("first", 0, np.int64), tensor("zero", [0], np.int64), tensor("rest", [-1], np.int64)),
        *(tensor("minus", -1, np.int64), random_tensor("token", 1, 1, 4)),
    ]
    imported = convert(model(nodes, {"x": ["n", 3, 4]}, ["y"], constants))
    called = [one.target for one in imported.module.graph.nodes if one.op == "call_function"]
    assert called.count(host.size_of) == 1
    assert len(called) == 3
    values = torch.rand(5, 3, 4)
    token = imported.module.get_parameter("token")
    assert torch.equal(imported.module(values), torch.cat([token.expand(5, -1, -1), values], 1))


ATTENTION_CASES: list[tuple[dict[str, Any], list[tuple[int, ...]]]] = [
    ({}, [(2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 5)]),
    ({"scale": 0.3}, [(2, 4, 3, 8), (2, 2, 6, 8), (2, 2, 6, 8), (3, 6)]),
    ({"q_num_heads": 4, "kv_num_heads": 2, "is_causal": 1}, [(2, 5, 16), (2, 7, 8), (2, 7, 8)]),
    ({"softcap": 2.0}, [(1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 3)]),
]


@pytest.mark.parametrize(("attributes", "shapes"), ATTENTION_CASES)
def test_attention_of_the_standard(attributes: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    names = ["q", "k", "v", "m"][: len(shapes)]
    nodes = [helper.make_node("Attention", names, ["y"], **attributes)]
    inputs = dict(zip(names, map(list, shapes), strict=True))
    proto = model(nodes, inputs, ["y"], opset=23)
    draw = np.random.default_rng(0)
    values = {name: draw.standard_normal(shape).astype(np.float32) for name, shape in inputs.items()}
    expected = ReferenceEvaluator(proto).run(None, values)[0]
    with torch.inference_mode():
        given = convert(proto).module(*map(torch.from_numpy, values.values()))
    np.testing.assert_allclose(given.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_mask_that_hides_nothing_is_left_out() -> None:
    nodes = [helper.make_node("Attention", ["x", "x", "x", "mask"], ["y"])]
    mask = helper.make_tensor("mask", TensorProto.BOOL, [3, 3], np.ones((3, 3), bool))
    imported = convert(model(nodes, {"x": ["n", 2, 3, 4]}, ["y"], [mask], 23))
    assert "mask" not in imported.module.state_dict()


def test_a_bundle_from_before_heads_were_known_is_still_read(tmp_path: Path) -> None:
    network = timm.create_model("vit_tiny_patch16_224", num_classes=5, **VIT)
    path = tmp_path / "model.onnx"
    path.write_bytes(exported(network, batch=None))
    bundle = to_bundle(import_file(path), classes=[])
    bundle.weights = dict(convert(onnx.load(path), heads=False).module.state_dict())
    del bundle.extra[HEADS]
    assert not any(isinstance(part, ImportedAttention) for part in from_bundle(bundle).module.modules())


def test_a_table_that_was_a_plain_number_before_is_as_the_graph_has_it(tmp_path: Path) -> None:
    network = timm.create_model("vit_tiny_patch16_224", num_classes=5, **VIT)
    (tmp_path / "model.onnx").write_bytes(exported(network, batch=None))
    bundle = to_bundle(import_file(tmp_path / "model.onnx"), classes=[])
    (table,) = (name for name in bundle.weights if "pos_embed" in name)
    kept = bundle.weights.pop(table)
    with pytest.raises(BundleError, match="do not fit its graph"):
        from_bundle(bundle)
    del bundle.extra[GRAPH_ROLES]
    assert torch.equal(from_bundle(bundle).module.state_dict()[table], kept)


def test_it_goes_the_whole_path(tmp_path: Path) -> None:
    network = timm.create_model("vit_tiny_patch16_224", num_classes=5, **VIT)
    (tmp_path / "model.onnx").write_bytes(exported(network, batch=1))
    write_bundle(tmp_path / "new.tltb", to_bundle(import_file(tmp_path / "model.onnx"), classes=[]))
    images = data_overrides(write_class_folders(tmp_path / "pictures", {"train": 4, "val": 2, "test": 2}))
    first = run("train", tmp_path / "a", *images, *settings(tmp_path / "new.tltb"), "train.num_epochs=1")
    assert read_bundle(first.bundle).extra[HEADS]
    exported_file = run("export", tmp_path / "a", *images)
    assert exported_file.report["largest_difference"] < 1e-5
    cut = ["prune.target_macs=0.7", "prune.granularity=2", f"prune.checkpoint={first.bundle}"]
    pruned = run("prune", tmp_path / "b", *images, *cut)
    assert pruned.report["macs_share"] == pytest.approx(0.7, abs=0.1)
    again_trained = f"train.pruned_model_path={pruned.bundle}"
    run("train", tmp_path / "c", *images, again_trained, "train.num_epochs=1")
    smaller = run("export", tmp_path / "c", *images)
    assert smaller.report["largest_difference"] < 1e-5
    source = [f"quantize.checkpoint={smaller.onnx_file}", "quantize.max_drop=1"]
    whole = run("quantize", tmp_path / "d", *images, *source)
    assert whole.onnx_file.is_file()


def test_it_loses_as_much_to_pruning_as_a_native_one(tmp_path: Path) -> None:
    """The same units: each head, and each hidden value of the layers between."""
    network = timm.create_model("vit_tiny_patch16_224", num_classes=2, **VIT)
    path = saved(onnx.load_from_string(exported(network, batch=None)), tmp_path / "model.onnx")
    bundle = to_bundle(import_file(path), classes=[])
    assert bundle.graph is not None
    imported = build_imported(bundle.graph, bundle.extra, bundle.weights, num_classes=2, img_size=32)
    images = (torch.rand(1, 3, 32, 32),)
    sizes = [
        [unit.size for unit in find_units(one, Prunable(images, [one.get_classifier()]), granularity=2)]
        for one in (network, imported)
    ]
    assert sizes[0] == sizes[1] == [2, 128, 2, 128]


def test_it_trains_as_the_native_one_does(tmp_path: Path) -> None:
    """The same head and the same batches: losses and outputs stay those of timm's network."""
    network = timm.create_model("vit_tiny_patch16_224", num_classes=2, **VIT)
    path = saved(onnx.load_from_string(exported(network, batch=None)), tmp_path / "model.onnx")
    bundle = to_bundle(import_file(path), classes=[])
    assert bundle.graph is not None
    imported = build_imported(bundle.graph, bundle.extra, bundle.weights, num_classes=2, img_size=32)
    imported.head.load_state_dict(network.head.state_dict())
    outputs = []
    for one in (network, imported):
        draw = torch.Generator().manual_seed(0)
        optimizer = torch.optim.AdamW(one.train().parameters(), lr=1e-3, weight_decay=0)
        for _ in range(5):
            images, classes = torch.rand(8, 3, 32, 32, generator=draw), torch.randint(2, (8,), generator=draw)
            optimizer.zero_grad()
            nn.functional.cross_entropy(one(images), classes).backward()
            optimizer.step()
        with torch.no_grad():
            outputs.append(one.eval()(torch.rand(8, 3, 32, 32, generator=draw)))
    assert torch.allclose(*outputs, rtol=0, atol=1e-5)
    assert float((outputs[0] - network.head.bias.detach()).abs().max()) > 1e-2


class BiasedAttention(nn.Module):
    """Attention with a table of biases, queries, keys and values apart, as in Swin; a hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.norm, self.head = nn.Conv2d(3, 16, 8, 8), nn.LayerNorm(16), nn.Linear(16, 5)
        self.q, self.k, self.v, self.o = (nn.Linear(16, 16) for _ in range(4))
        self.wide, self.narrow = nn.Linear(16, 24), nn.Linear(24, 16)
        self.bias = nn.Parameter(torch.randn(1, 2, 16, 16))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        tokens = self.patch(pixels).flatten(2).transpose(1, 2)
        parts = [
            one(self.norm(tokens)).reshape(len(tokens), 16, 2, 8).transpose(1, 2)
            for one in (self.q, self.k, self.v)
        ]
        weights = (parts[0] @ parts[1].transpose(-2, -1) * 0.35 + self.bias).softmax(-1)
        tokens = tokens + self.o((weights @ parts[2]).transpose(1, 2).reshape(len(tokens), 16, 16))
        tokens = tokens + self.narrow(nn.functional.gelu(self.wide(tokens)))
        result: torch.Tensor = self.head(tokens.mean(1))
        return result


def test_layers_of_heads_that_nobody_recognised_keep_their_width(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(exported(BiasedAttention(), batch=1))
    bundle = to_bundle(import_file(path), classes=[])
    assert bundle.graph is not None
    network = build_imported(bundle.graph, bundle.extra, bundle.weights, num_classes=2, img_size=32)
    found = find_units(network, Prunable((torch.rand(1, 3, 32, 32),), [network.head]), granularity=2)
    assert [unit.size for unit in found] == [24]


class Gated(nn.Module):
    """SwiGLU over patches: both halves of one layer are multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.wide = nn.Conv2d(3, 16, 8, 8), nn.Linear(16, 24)
        self.narrow, self.head = nn.Linear(12, 16), nn.Linear(16, 5)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        tokens = self.patch(pixels).flatten(2).transpose(1, 2)
        gate, value = self.wide(tokens).chunk(2, -1)
        tokens = tokens + self.narrow(nn.functional.silu(gate) * value)
        result: torch.Tensor = self.head(tokens.mean(1))
        return result


def test_a_gated_layer_becomes_two_that_lose_channels_together(tmp_path: Path) -> None:
    network = Gated()
    path = tmp_path / "model.onnx"
    path.write_bytes(exported(network, batch=None))
    result = import_file(path)
    bundle = to_bundle(result, classes=[])
    assert bundle.graph is not None
    parts = [bundle.weights[f"wide_{number}.weight"] for number in range(2)]
    assert torch.equal(torch.cat(parts), network.wide.weight.detach())
    (use,) = (one for one in result.report["roles"]["weight"]["names"].values() if len(one["places"]) > 1)
    assert (use["places"], use["values"]) == (["wide_0", "wide_1"], 24 * 16)
    imported = build_imported(bundle.graph, bundle.extra, bundle.weights, num_classes=2, img_size=32)
    found = find_units(imported, Prunable((torch.rand(1, 3, 32, 32),), [imported.head]), granularity=2)
    assert 12 in [unit.size for unit in found]
    del bundle.extra[GATES]
    assert "wide.weight" in from_bundle(bundle, strict=False).module.state_dict()


class Windows(nn.Module):
    """Windows of a map with a mask for each, and a strided view, written for one sample as Swin has them."""

    def __init__(self) -> None:
        super().__init__()
        self.row, self.head = nn.Linear(3, 5), nn.Linear(4, 2)
        self.mask = nn.Parameter(torch.rand(16, 1, 5))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        windows = pixels.view(1, 3, 4, 8, 4, 8).permute(0, 2, 4, 3, 5, 1).reshape(16, 64, 3)
        values = (self.row(windows) * self.mask).reshape(1, 16, 64, 5).mean(2)
        return self.head(torch.as_strided(values, (1, 6, 4), (80, 7, 3)))


def test_masks_of_windows_and_strided_views_of_one_sample_are_set_free(tmp_path: Path) -> None:
    assert_like_its_file(exported(Windows(), batch=1), tmp_path, batch=1)


class MeanOfBatch(nn.Module):
    """What each sample gives depends on the others."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels - pixels.mean(0, keepdim=True) + pixels.mean((1, 2, 3), keepdim=True)


def test_what_is_not_the_same_sample_by_sample_stays_bound(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(exported(MeanOfBatch(), batch=1))
    assert import_file(tmp_path / "model.onnx").report["batch"] == 1
