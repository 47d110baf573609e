"""What a training of pairs lowers, and what its validation reports."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.metrics import Goal, Metrics
from tao_like.contract.phase import Phase
from tao_like.contract.sample import Outputs, Preprocessed
from tao_like.networks import lora
from tao_like.networks.freezing import freeze
from tao_like.tasks.clip import zero_shot
from tao_like.tasks.clip.data.data import PairData
from tao_like.tasks.clip.data.dataset import TEXT, PairTargets
from tao_like.tasks.clip.losses import LOSSES, gathered, right_pairs
from tao_like.tasks.clip.metrics.pairs import GOAL, PairMetrics
from tao_like.tasks.clip.model.pair import (
    LARGEST_LOGIT_SCALE,
    Embeddings,
    ImageTowerForExport,
    PairNetwork,
    TextTowerForExport,
)
from tao_like.tasks.clip.model.sentence_tower import SentenceTower
from tao_like.tasks.clip.predictions import PairPredictions
from tao_like.tasks.clip.spec import Spec
from tao_like.tasks.clip.spec_stages import ClipTrainSpec
from tao_like.tasks.common.image_input import IMAGE


class PairPhase(Phase[PairNetwork]):
    """Both towers learn to meet in one space."""

    goal = Goal(GOAL)
    parts = (IMAGE, TEXT)
    scores_start = True
    data: PairData
    predictions: PairPredictions
    spec: ClipTrainSpec

    def __init__(self, data: PairData, predictions: PairPredictions, spec: Spec) -> None:
        super().__init__(data, predictions, spec.train)
        self._whole = spec
        self._loss = LOSSES[spec.train.loss_type]
        self._start: dict[str, Tensor] | None = None

    @override
    def losses(self, model: PairNetwork, batch: Batch[PairTargets]) -> dict[str, Tensor]:
        if model.training and model.text.logit_scale.requires_grad:
            with torch.no_grad():
                # In place too: a weight above the limit would have no gradient to come back by.
                model.text.logit_scale.clamp_(max=LARGEST_LOGIT_SCALE)
        return {"loss": self._loss_of(model(batch.inputs[IMAGE], batch.inputs[TEXT]), batch)}

    def _loss_of(self, rows: Embeddings, batch: Batch[PairTargets], *, alone: bool = False) -> Tensor:
        """The loss of a batch; in training the other processes' samples are candidates too."""
        rows = Embeddings(*(part.float() for part in rows))
        own = torch.cat([batch.indices.to(batch.device)[:, None], batch.inputs[TEXT]], dim=1)
        if not self.spec.multi_positive:
            # A number of its own stands for each text.
            own = own[:, :1].repeat(1, 2)
        everyone = own if alone else gathered(own)
        columns = rows
        if not alone:
            columns = rows._replace(image=gathered(rows.image), text=gathered(rows.text))
        return self._loss(rows, columns, right_pairs(own, everyone))

    @override
    def validate(self, model: PairNetwork, batch: Batch[PairTargets]) -> tuple[dict[str, Tensor], Outputs]:
        if self.predictions.classes.names and self.predictions.classes.embeddings is None:
            self.prepare_validation(model)
        rows = model(batch.inputs[IMAGE], batch.inputs[TEXT])
        # Processes may have unequal numbers of batches here, so each is scored by itself.
        outputs = {zero_shot.IMAGE_EMBEDDING: rows.image, zero_shot.TEXT_EMBEDDING: rows.text}
        return {"loss": self._loss_of(rows, batch, alone=True)}, {
            name: value.float().cpu().numpy() for name, value in outputs.items()
        }

    @override
    def prepare_validation(self, model: PairNetwork) -> None:
        device = model.text.logit_scale.device
        towers = {
            IMAGE: ImageTowerForExport(model.image, "uint8_nhwc"),
            TEXT: TextTowerForExport(model.text),
        }
        meanings = self.predictions.meanings

        @torch.no_grad()
        def run(preprocessed: Preprocessed) -> Outputs:
            outputs: Outputs = {}
            for name, values in preprocessed.items():
                found: Any = towers[name](torch.from_numpy(values).to(device))
                tensors = found if isinstance(found, tuple) else (found,)
                named = zip(meanings[name], tensors, strict=True)
                outputs |= {key: np.asarray(tensor.float().cpu()) for key, tensor in named}
            return outputs

        self.predictions.ask(run, "score")

    @override
    def metrics(self) -> Metrics:
        evaluate = self._whole.evaluate
        return PairMetrics(
            evaluate.recall_at, self.predictions.classes, self.data.group_names, probes=evaluate.linear_probe
        )

    @override
    def backbone(self, model: PairNetwork) -> list[nn.Module]:
        return list(model.image.modules())

    @override
    def freeze(self, model: PairNetwork) -> None:
        if self.spec.wise_ft < 1:
            self._start = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        scaling = [one for one in (model.text.logit_scale, model.text.logit_bias) if one is not None]
        for name, mode in self._whole.tuning().items():
            if mode != "full":
                self._freeze_tower(model, name, adapted=mode == "lora")
        for parameter in scaling:
            # They are no part of what the tower knows of words.
            parameter.requires_grad_(True)

    def _freeze_tower(self, model: PairNetwork, name: str, *, adapted: bool) -> None:
        """Freezes a tower; adapted: it learns through low-rank additions."""
        if adapted and not model.training:
            # A short training in between, for pruning: channels are chosen by what the weights have learnt.
            return
        tower = model.parts()[name]
        freeze(tower)
        if name == TEXT and isinstance(model.text, SentenceTower) and not model.text.keeps_space:
            # It leads into a space of another size, and is no part of the sentence model.
            model.text.projection.requires_grad_(True)
        if not adapted:
            return
        new_head: list[nn.Module] = []
        if name == TEXT and model.text.projection.weight.requires_grad:
            new_head = [model.text.projection]
        if name == IMAGE and not (self.spec.pretrained_model_path or self.spec.pruned_model_path):
            # Its weights are random: only the layers before it come from a file.
            new_head = [model.image.head().requires_grad_(True)]
        peft = self.spec.peft
        lora.adapt(tower, rank=peft.rank, alpha=peft.alpha, dropout=peft.dropout, skip=new_head)

    @override
    def finish(self, model: PairNetwork) -> None:
        lora.merge(model)
        if self._start is None:
            return
        fraction = self.spec.wise_ft
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if tensor.is_floating_point():
                    tensor.lerp_(self._start[name].to(tensor.device), 1 - fraction)
        self._start = None
