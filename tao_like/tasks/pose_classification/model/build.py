"""From a spec to a network with the weights that it starts from."""

from __future__ import annotations

from pathlib import Path

from tao_like.bundle import read_bundle
from tao_like.errors import SpecError
from tao_like.networks.weights.checkpoints import read_file, state_dicts
from tao_like.networks.weights.class_layer import UNNAMED, class_layer
from tao_like.tasks.common.weights import fill
from tao_like.tasks.pose_classification.model.classifier import SkeletonClassifier, StreamNetwork
from tao_like.tasks.pose_classification.model.published import their_name, to_ours
from tao_like.tasks.pose_classification.spec import ModelSpec, Spec

KEY = "model.pretrained_model_path"


def build_network(
    spec: Spec, classes: list[str], *, pretrained: bool
) -> tuple[SkeletonClassifier, list[str]]:
    """The network of a spec, and what to tell the user of the weights that it starts from.

    Raises:
        SpecError: weights that the spec names are of another network.
        BundleError: a file is damaged.
    """
    network = SkeletonClassifier(spec.model, len(classes))
    if not pretrained:
        return network, []
    if spec.train.pretrained_model_path:
        return network, [_warm_start(network, Path(spec.train.pretrained_model_path), classes)]
    if spec.model.pretrained_model_path:
        return network, [_load_published(network, Path(spec.model.pretrained_model_path), spec.model)]
    return network, []


def _warm_start(network: SkeletonClassifier, path: Path, classes: list[str]) -> str:
    """Fills the network from a bundle: all of it where the classes agree, else without the last layers."""
    key = f"train.pretrained_model_path={path}"
    bundle = read_bundle(path, expect_task="pose_classification")
    if bundle.structure is not None:
        raise SpecError(
            f"{key} holds a pruned network, which keeps its own sizes; give it as train.pruned_model_path"
        )
    own = network.state_dict()
    head = class_layer(classes, bundle.classes)
    weights = dict(bundle.weights)
    for name in own:
        if ".head." in name and (head.rows is None or name in weights):
            weights[name] = own[name] if head.rows is None else head.ordered(weights[name])
    if not fill(network, weights):
        raise SpecError(f"{key} holds another network than the model block describes; make them agree")
    if head.rows is None:
        return f"weights come from {path}; {head.text('each last layer')}"
    return f"all weights come from {path}; {head.text('each last layer')}"


def _load_published(network: SkeletonClassifier, path: Path, model: ModelSpec) -> str:
    """Fills every stream's network from a published checkpoint, but for its last layer.

    Such a file does not name its classes, so that its last layer may be for as many others.
    """
    if not path.is_file():
        raise SpecError(f"{KEY}: there is no file {path}")
    plus_plus = model.model_type == "ST-GCN++"
    readings = list(state_dicts(read_file(path)))
    if not readings:
        raise SpecError(f"{KEY}: {path} holds no weights")
    streams = [stream for stream in network.streams.values() if isinstance(stream, StreamNetwork)]
    names = {their_name(name, plus_plus) for name in streams[0].state_dict() if name.endswith("weight")}
    published = next((reading for reading in readings if names <= reading.keys()), readings[0])
    for stream in streams:
        try:
            weights = to_ours(published, stream.state_dict(), plus_plus=plus_plus, graph=stream.graph)
        except SpecError as error:
            raise SpecError(
                f"{KEY}: {path} is no {model.model_type} as the model block describes it: {error}"
            ) from error
        stream.load_state_dict(weights)
    return f"all weights but the last layer's come from {path}; that layer is new, since {UNNAMED}"
