"""Mask2Former (Cheng et al. 2022): queries that look at an image within the masks they predict.

Pixel decoder, transformer and loss are transformers' (Apache-2.0), built from a configuration; nothing is
downloaded. The backbone is timm's, or transformers' Swin, with which its published checkpoints fit.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from tao_like.errors import SpecError
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.networks.normalize import Normalize
from tao_like.runtime.predictions.boxes import Selection
from tao_like.tasks.common.boxes.top_indices import top_indices

if TYPE_CHECKING:
    from tao_like.tasks.instance_segmentation.spec import ModelSpec

STRIDE = 4
"""Pixels of the input to a cell of a mask."""


def transformers_module(name: str) -> Any:
    """A module of transformers. Raises SpecError where that is not installed."""
    try:
        importlib.import_module("scipy")
        return importlib.import_module(f"transformers.models.{name}")
    except ModuleNotFoundError as error:
        raise SpecError(
            "model.arch: mask2former needs transformers and scipy; pip install 'tao_like[transformers]'"
        ) from error


def mask2former_config(model: ModelSpec, num_classes: int) -> Any:
    """transformers' configuration of a spec's network."""
    decoder, queries = model.sem_seg_head, model.mask_former
    return transformers_module("mask2former.configuration_mask2former").Mask2FormerConfig(
        num_labels=num_classes,
        feature_size=decoder.convs_dim,
        mask_feature_size=decoder.mask_dim,
        encoder_layers=decoder.transformer_enc_layers,
        encoder_feedforward_dim=decoder.dim_feedforward,
        hidden_dim=queries.hidden_dim,
        num_attention_heads=queries.nheads,
        dim_feedforward=queries.dim_feedforward,
        decoder_layers=queries.dec_layers,
        num_queries=queries.num_object_queries,
        dropout=queries.dropout,
        **{
            name: getattr(queries, name)
            for name in (
                *("class_weight", "mask_weight", "dice_weight", "no_object_weight", "train_num_points"),
                *("oversample_ratio", "importance_sample_ratio"),
            )
        },
    )


class SwinMaps(nn.Module):
    """transformers' Swin as a pyramid of strides 4, 8, 16 and 32."""

    def __init__(self, model: ModelSpec) -> None:
        super().__init__()
        swin, size = model.backbone.swin, model.backbone.swin.size
        config = transformers_module("swin.configuration_swin").SwinConfig(
            **size._asdict(),
            window_size=swin.window_size,
            mlp_ratio=swin.mlp_ratio,
            drop_path_rate=swin.drop_path_rate,
            out_features=["stage1", "stage2", "stage3", "stage4"],
        )
        self.network = transformers_module("swin.modeling_swin").SwinBackbone(config)
        self.channels: tuple[int, ...] = tuple(self.network.channels)
        self.strides = (4, 8, 16, 32)

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Maps of (N, 3, H, W)."""
        return list(self.network(inputs).feature_maps)


class Mask2Former(nn.Module):
    """Mask2Former over a backbone.

    Args:
        backbone: maps at strides 4, 8, 16 and 32, with ``channels``.
        config: transformers', with the number of classes.
        segments: a query tells one class, as segments need it; else each query may stand under several.
        regions: class numbers whose objects on an image are one target.
        deep_supervision: every layer's prediction is part of the loss.
        mean: of the normalization, 0 to 1.
        std: of the normalization.
    """

    class_outputs: ClassVar[tuple[str, ...]] = ("head.class_predictor.",)

    def __init__(
        self,
        backbone: nn.Module,
        config: Any,
        *,
        segments: bool,
        regions: Sequence[int],
        deep_supervision: bool,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        source = transformers_module("mask2former.modeling_mask2former")
        self.normalise = Normalize(mean, std)
        self.backbone = backbone
        self.neck = source.Mask2FormerPixelDecoder(config, feature_channels=list(backbone.channels))  # type: ignore[arg-type]
        # The exporter makes doubles of transformers' own where the batch is fixed, and GridSample takes none.
        self.neck.encoder.get_reference_points = reference_points
        self.head = nn.ModuleDict(
            {
                "transformer_module": source.Mask2FormerTransformerModule(config.feature_size, config),
                "class_predictor": nn.Linear(config.hidden_dim, config.num_labels + 1),
            }
        )
        _initialize(source, config, [self.neck, self.head])
        self.segments, self.regions = segments, tuple(regions)
        self.deep_supervision = deep_supervision
        weights = {
            "loss_cross_entropy": config.class_weight,
            "loss_mask": config.mask_weight,
            "loss_dice": config.dice_weight,
        }
        # In a tuple: its buffer is no weight of the network.
        self._criterion = (source.Mask2FormerLoss(config=config, weight_dict=weights),)

    @property
    def protected(self) -> list[nn.Module]:
        """All but the backbone: attention shares its width among heads and levels, and keeps it."""
        parts = [*self.neck.modules(), *self.head.modules()]
        own = [part for part in self.backbone.modules() if isinstance(self.backbone, SwinMaps)]
        return [part for part in (*parts, *own) if isinstance(part, nn.Conv2d | nn.Linear)]

    def example_inputs(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Inputs of ``forward`` with which a pass goes through every layer."""
        return (pixels,)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Maps pixels (N, 3, H, W), 0 to 255, to class logits (N, Q, classes + 1) and mask logits
        (N, Q, H / 4, W / 4): of the last layer, then of each layer before it."""
        return self.from_normalized(self.normalise(pixels))

    def from_normalized(self, inputs: Tensor) -> list[Tensor]:
        """As ``forward``, for inputs that the caller has normalized."""
        decoded = self.neck(self.backbone(inputs), output_hidden_states=False, return_dict=True)
        said = self.head["transformer_module"](
            multi_scale_features=decoded.multi_scale_features,
            mask_features=decoded.mask_features,
            output_hidden_states=True,
            output_attentions=False,
        )
        classes = [
            self.head["class_predictor"](state.transpose(0, 1)) for state in said.intermediate_hidden_states
        ]
        pairs = list(zip(classes, said.masks_queries_logits, strict=True))
        return [value for pair in (pairs[-1], *pairs[:-1]) for value in pair]

    def instance_losses(
        self,
        values: Sequence[Tensor],
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        masks: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """The parts of the loss of a batch; the points of masks that it looks at are drawn anew each step.

        Args:
            values: of ``forward``.
            boxes: not looked at: masks say it all.
            labels: of each image (G,) class numbers.
            masks: of each image (G, H, W) of 0 and 1, at the input's size.
        """
        del boxes
        wanted = [self._wanted(*each) for each in zip(labels, masks, strict=True)]
        criterion = self._criterion[0].to(values[0].device)
        layers = [
            {"class_queries_logits": one.float(), "masks_queries_logits": other.float()}
            for one, other in zip(values[::2], values[1::2], strict=True)
        ]
        # A validation gives the same figure twice: its points come from a seed of their own.
        with torch.random.fork_rng(devices=[], enabled=not self.training):
            if not self.training:
                torch.manual_seed(0)
            found = criterion(
                **layers[0],
                class_labels=[label for label, _ in wanted],
                mask_labels=[mask for _, mask in wanted],
                auxiliary_predictions=layers[1:] if self.deep_supervision else None,
            )
        return {
            name: weight * torch.stack([value for key, value in found.items() if key.startswith(name)]).sum()
            for name, weight in criterion.weight_dict.items()
        }

    def _wanted(self, labels: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Labels and masks of an image, with those of a region joined to one."""
        masks = masks.float()
        if not self.regions or not len(labels):
            return labels, masks
        is_region = torch.isin(labels, torch.tensor(self.regions, device=labels.device))
        joined = labels[is_region].unique()
        regions = [masks[labels == label].amax(dim=0) for label in joined]
        return torch.cat([labels[~is_region], joined]), torch.stack([*masks[~is_region], *regions])

    def instances(self, values: Sequence[Tensor], selection: Selection) -> tuple[Tensor, ...]:
        """What ships of the values of ``forward``; see ``InstancesForExport``.

        Without segments a query may be given under several classes, and its score is that of the class times
        the mean of its mask, as published. With segments it has its best class, or none.
        """
        classes, logits = values[0].float().softmax(dim=-1), values[1].float()
        probabilities, solid = logits.sigmoid(), (logits > 0).float()
        known = classes[..., :-1]
        count = int(known.shape[2])
        if self.segments:
            best, of_query = known.max(dim=2)
            scores = best * (best > classes[..., -1]) * (solid.amax(dim=(2, 3)) > 0)
            order = top_indices(scores, min(selection.limit, int(scores.shape[1])))
            query, labels = order, of_query.gather(1, order)
        else:
            quality = (probabilities * solid).sum(dim=(2, 3)) / (solid.sum(dim=(2, 3)) + 1e-6)
            scores = (known * quality[..., None]).flatten(1)
            order = top_indices(scores, min(selection.limit, int(scores.shape[1])))
            query = torch.div(order, count, rounding_mode="floor")
            labels = order - query * count
        scores = scores.gather(1, order)
        is_real = scores > selection.score_threshold
        sides = int(logits.shape[2]), int(logits.shape[3])
        positions = query[..., None, None].expand(-1, -1, *sides)
        masks = probabilities.gather(1, positions) * is_real[..., None, None]
        boxes = _boxes(solid.gather(1, positions)) * is_real[..., None]
        return boxes, scores * is_real, labels * is_real, is_real.sum(dim=1), masks


def reference_points(
    spatial_shapes_list: Sequence[tuple[int, int]], valid_ratios: Tensor, device: torch.device
) -> Tensor:
    """Where the cells of all levels lie, as fractions of the image: (N, cells, levels, 2), x before y.

    Args:
        spatial_shapes_list: height and width of each level.
        valid_ratios: (N, levels, 2), 1 where images are not padded, as here.
        device: of the points.
    """
    points = []
    for height, width in ((int(one), int(other)) for one, other in spatial_shapes_list):
        across = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
        down = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
        points.append(torch.stack([across.repeat(height), down.repeat_interleave(width)], dim=1))
    return torch.cat(points)[None, :, None, :] * valid_ratios[:, None].float()


def _boxes(solid: Tensor) -> Tensor:
    """Boxes (N, K, 4) in pixels of the input around masks (N, K, h, w) of 0 and 1; 0 where there is none."""
    height, width = int(solid.shape[2]), int(solid.shape[3])
    edges = []
    for used, side in ((solid.amax(dim=2), width), (solid.amax(dim=3), height)):
        numbers = torch.arange(side, device=solid.device, dtype=solid.dtype)
        edges.append((side - (used * (side - numbers)).amax(dim=2), (used * (numbers + 1)).amax(dim=2)))
    (left, right), (top, bottom) = edges
    return torch.stack([left, top, right, bottom], dim=2) * STRIDE * (right > 0)[..., None]


def _initialize(source: Any, config: Any, parts: Sequence[nn.Module]) -> None:
    """Fills new layers as transformers does."""

    class Filled(source.Mask2FormerPreTrainedModel):
        def __init__(self) -> None:
            super().__init__(config)
            self.parts = nn.ModuleList(parts)
            self.post_init()

    Filled()
