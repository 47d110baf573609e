"""The blocks of a spec file that every task shares. Field names are TAO's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from tao_like.config import Problem, spec_block, spec_field
from tao_like.config.blocks.automl import AutomlSpec
from tao_like.config.blocks.compare import CompareSpec
from tao_like.config.blocks.execution import ExecutionSpec
from tao_like.config.blocks.optim import OPTIMIZERS as OPTIMIZERS
from tao_like.config.blocks.optim import TAO_OPTIMIZERS as TAO_OPTIMIZERS
from tao_like.config.blocks.optim import OptimSpec as OptimSpec
from tao_like.config.blocks.prune import IGNORED_TAO_KEYS_OF_PRUNING, MOVED_TAO_KEYS, DistillSpec, PruneSpec
from tao_like.config.blocks.quantize import IGNORED_TAO_KEYS_OF_QUANTIZATION, QuantizeSpec

# TAO's keys that mean nothing here, with the reason that the user is told. Shared by all tasks.
IGNORED_TAO_KEYS: Mapping[str, str] = {
    "encryption_key": "nothing is encrypted",
    "model_name": "the command line names the task",
    "wandb": "logs go to TensorBoard",
    "gen_trt_engine": "the exported ONNX file is what ships",
    **IGNORED_TAO_KEYS_OF_PRUNING,
    **IGNORED_TAO_KEYS_OF_QUANTIZATION,
    "evaluate.num_gpus": "evaluation runs on one device",
    "evaluate.num_nodes": "evaluation runs on one device",
    "evaluate.trt_engine": "evaluate takes a bundle or an ONNX file",
    "evaluate.vis_after_n_batches": "images are chosen by their error",
    "evaluate.is_quantized": "the file says it",
    "inference.num_gpus": "inference runs on one device",
    "inference.num_nodes": "inference runs on one device",
    "inference.trt_engine": "inference takes a bundle or an ONNX file",
    "inference.vis_after_n_batches": "inference.max_pictures sets the number",
    "inference.is_quantized": "the file says it",
    "export.gpu_id": "export runs on the CPU",
    "export.on_cpu": "export runs on the CPU",
    "export.input_channel": "the bundle knows its input",
    "export.input_width": "the bundle knows its input",
    "export.input_height": "the bundle knows its input",
    "export.verbose": "--debug shows more",
    "export.format": "ONNX is the format",
    "export.serialize_nvdsinfer": "the ONNX file describes itself",
    "export.is_quantized": "the file says it",
}


@dataclass
class EarlyStoppingSpec:
    """Ends a training that no longer improves."""

    enabled: bool = spec_field(False, "Stop when `train.optim.monitor_name` no longer improves")
    patience: int = spec_field(10, "Validations without improvement to wait for", ge=1)
    min_delta: float = spec_field(0.0, "Smaller changes do not count as improvement", ge=0)


@dataclass
class TensorBoardSpec:
    """What is written for TensorBoard."""

    enabled: bool = spec_field(True, "Write TensorBoard events")
    log_every_n_steps: int = spec_field(10, "Steps between two points of loss and rate", unit="steps", ge=1)
    infrequent_logging_frequency: int | None = spec_field(
        None,
        "Epochs between two sets of images and histograms; 0: none. Without a number, about twenty sets "
        "in a training",
        unit="epochs",
        ge=0,
    )
    num_images: int = spec_field(16, "Validation images in the grid, wrong ones first", ge=0, le=100)
    histograms: bool = spec_field(
        False, "Histograms of weights and gradients", aliases=("weight_histograms",)
    )
    graph: bool = spec_field(False, "The network's graph (slow for large ones)")


@dataclass
class CudnnSpec:
    """cuDNN's choices on NVIDIA devices."""

    benchmark: bool = spec_field(False, "Let cuDNN time its algorithms: faster, not repeatable")
    deterministic: bool = spec_field(True, "Only deterministic cuDNN algorithms")


@dataclass
class TrainSpec:
    """How a network is trained."""

    num_epochs: int = spec_field(10, "Passes over the training data", unit="epochs", ge=1, le=100000)
    max_steps: int = spec_field(
        -1, "Stop after this many optimizer steps; -1: as many as the epochs have", unit="steps", ge=-1
    )
    stop_epoch: int = spec_field(
        -1,
        "Stop after this many epochs, at the rates of a training of num_epochs; -1: at its end",
        unit="epochs",
        ge=-1,
    )
    seed: int = spec_field(
        1234,
        "Seed of order, augmentation and initial weights; -1: another one every time",
        ge=-1,
        aliases=("random_seed",),
    )
    accelerator: str = spec_field(
        "auto", "Where to train; auto takes a GPU when there is one", choices=("auto", "cpu", "gpu", "mps")
    )
    num_gpus: int = spec_field(1, "Devices to train on, of each machine; without a GPU: processes", ge=0)
    gpu_ids: list[int] = spec_field([], "Which GPUs, by number; empty: the first `num_gpus`", element_ge=0)
    num_nodes: int = spec_field(1, "Machines to train on; torchrun on each starts the processes", ge=1)
    strategy: str = spec_field(
        "ddp",
        "What each of several devices holds: ddp: the whole network; fsdp: a part of every weight",
        choices=("ddp", "fsdp"),
        aliases=("distributed_strategy",),
    )
    precision: str = spec_field("fp32", "Arithmetic of the training step", choices=("fp32", "bf16", "fp16"))
    accumulate_grad_batches: int = spec_field(
        1, "Batches whose gradients are summed up for one step", ge=1, automl=True
    )
    clip_grad_norm: float = spec_field(
        0.0,
        "Largest norm of the gradient; 0: no limit",
        ge=0,
        aliases=("grad_clip", "clip_grad_val", "grad_norm_clip"),
    )
    optim: OptimSpec = spec_block(OptimSpec, "Optimizer and schedule", aliases=("optimizer",))
    enable_ema: bool = spec_field(False, "Keep a moving average of the weights, and ship that")
    ema_decay: float = spec_field(0.998, "Decay of the moving average; warmed up in short runs", gt=0, lt=1)
    validation_interval: int = spec_field(1, "Epochs between two validations", unit="epochs", ge=1)
    checkpoint_interval: int = spec_field(1, "Epochs (or steps) between two checkpoints", ge=1)
    checkpoint_interval_unit: str = spec_field("epoch", "Unit of the interval", choices=("epoch", "step"))
    keep: str = spec_field(
        "best",
        "Weights that the bundle holds: those of the best validation, or the last",
        choices=("best", "last"),
    )
    early_stopping: EarlyStoppingSpec = spec_block(EarlyStoppingSpec, "Early stopping")
    resume_training_checkpoint_path: str | None = spec_field(
        None,
        "Checkpoint (.ckpt) of a broken run to go on with, to the end that it would have reached",
        path=True,
    )
    changes_on_resume: list[str] = spec_field(
        [],
        "Numbers in train.optim that a resumed training may have otherwise than before, such as "
        "train.optim.lr; the new ones hold from the checkpoint on",
        pattern=r"train\.optim\.[a-z_.]+",
    )
    pretrained_model_path: str | None = spec_field(
        None, "Bundle whose weights a new run starts from; optimizer and schedule start anew", path=True
    )
    pruned_model_path: str | None = spec_field(
        None, "Bundle that prune left: its network, as narrow as it is, is trained again", path=True
    )
    distill: DistillSpec = spec_block(DistillSpec, "A larger network as the teacher")
    compile: bool = spec_field(False, "torch.compile the network: slow to start, faster steps on a GPU")
    tensorboard: TensorBoardSpec = spec_block(TensorBoardSpec, "TensorBoard", aliases=("visualizer",))
    cudnn: CudnnSpec = spec_block(CudnnSpec, "cuDNN")
    results_dir: str | None = spec_field(
        None, "Folder of this stage's results; empty: `results_dir/train`", path=True
    )

    def check(self) -> Iterator[Problem]:
        """Rules that join several keys of this block."""
        optim = self.optim
        if optim.policy == "multistep" and any(m >= self.num_epochs for m in optim.policy_params.milestones):
            yield Problem(
                "optim.policy_params.milestones",
                f"{optim.policy_params.milestones} reaches beyond train.num_epochs={self.num_epochs}, "
                "so the rate would never fall there; lower the milestones or train longer",
            )
        if optim.head_epochs and optim.head_epochs >= self.num_epochs:
            yield Problem(
                "optim.head_epochs",
                f"{optim.head_epochs:g} fills all of train.num_epochs={self.num_epochs}, so the backbone "
                "would never learn; lower it, train longer, or freeze the backbone",
            )
        if self.stop_epoch == 0:
            yield Problem("stop_epoch", "0 is not allowed; give -1 (at the end) or at least 1")
        if self.validation_interval > self.num_epochs:
            yield Problem(
                "validation_interval",
                f"{self.validation_interval} is more than train.num_epochs={self.num_epochs}, so nothing "
                "would be validated; lower it",
            )
        several = max(self.num_gpus, len(self.gpu_ids)) * self.num_nodes > 1
        if self.seed < 0 and several:
            yield Problem("seed", "-1 gives every process another seed; give a number")
        if self.strategy == "fsdp" and several:
            yield from self._needing_the_whole()
        if self.gpu_ids and len(set(self.gpu_ids)) != len(self.gpu_ids):
            yield Problem("gpu_ids", f"{self.gpu_ids} names a GPU twice; name each once")
        if self.gpu_ids and self.num_gpus not in (1, len(self.gpu_ids)):
            yield Problem(
                "num_gpus",
                f"{self.num_gpus} is not the number of gpu_ids={self.gpu_ids}; leave one of the two out",
            )
        if self.pruned_model_path and self.pretrained_model_path:
            yield Problem(
                "pruned_model_path",
                "is given together with pretrained_model_path; both say what to start from: keep one of them",
            )

    def _needing_the_whole(self) -> Iterator[Problem]:
        """What a process cannot do that holds a part of the network."""
        board = self.tensorboard
        for key, wanted in (
            ("enable_ema", self.enable_ema),
            ("compile", self.compile),
            ("tensorboard.graph", board.enabled and board.graph),
        ):
            if wanted:
                yield Problem(
                    key,
                    "true is not allowed with train.strategy=fsdp, where no device holds the whole network; "
                    "give false, or train.strategy=ddp",
                )
        if self.precision == "fp16":
            yield Problem(
                "precision", "fp16 is not allowed with train.strategy=fsdp; give bf16 or fp32, or ddp"
            )
        if self.optim.optim == "adafactor":
            yield Problem(
                "optim.optim",
                "adafactor is not allowed with train.strategy=fsdp: it needs whole rows and columns; "
                "give another, or train.strategy=ddp",
            )


@dataclass
class EvaluateSpec:
    """Scores a bundle or an ONNX file on labelled data."""

    checkpoint: str | None = spec_field(
        None, "Bundle or ONNX file; empty: the bundle that train left in results_dir", path=True
    )
    split: str = spec_field(
        "test",
        "Data to score; `test` falls back to `val` where there is none",
        choices=("train", "val", "test"),
    )
    batch_size: int = spec_field(-1, "Samples at a time; -1: as dataset.batch_size", ge=-1)
    gpu_ids: list[int] = spec_field([], "GPU to use; empty: the first, or the CPU", element_ge=0)
    max_pictures: int = spec_field(32, "Images of predictions to write, wrong ones first", ge=0)
    results_dir: str | None = spec_field(
        None, "Folder of this stage's results; empty: `results_dir/evaluate`", path=True
    )

    def check(self) -> Iterator[Problem]:
        """-1 and positive numbers are batch sizes; zero is not."""
        if self.batch_size == 0:
            yield Problem("batch_size", "0 is not allowed; give -1 (as dataset.batch_size) or at least 1")


@dataclass
class InferenceSpec:
    """Runs a bundle or an ONNX file on files without labels."""

    checkpoint: str | None = spec_field(
        None, "Bundle or ONNX file; empty: the bundle that train left in results_dir", path=True
    )
    source: str | None = spec_field(
        None,
        "A file, a folder or a pattern such as `photos/*.jpg`; for images also a video (needs "
        "`tao_like[video]`); empty: the test split",
        path=True,
    )
    batch_size: int = spec_field(-1, "Samples at a time; -1: as dataset.batch_size", ge=-1)
    gpu_ids: list[int] = spec_field([], "GPU to use; empty: the first, or the CPU", element_ge=0)
    max_pictures: int = spec_field(100, "Images to draw at most; 0: none", ge=0)
    explain: bool = spec_field(False, "Draw where the network looked (needs a bundle)")
    on_error: str = spec_field(
        "skip",
        "What to do with a file that cannot be read: name it and go on, or stop",
        choices=("skip", "stop"),
    )
    results_dir: str | None = spec_field(
        None, "Folder of this stage's results; empty: `results_dir/inference`", path=True
    )

    def check(self) -> Iterator[Problem]:
        """-1 and positive numbers are batch sizes; zero is not."""
        if self.batch_size == 0:
            yield Problem("batch_size", "0 is not allowed; give -1 (as dataset.batch_size) or at least 1")


@dataclass
class ExportSpec:
    """Writes a bundle as an ONNX file, and proves that it gives the same predictions."""

    checkpoint: str | None = spec_field(
        None, "Bundle to export; empty: the one that train left in results_dir", path=True
    )
    onnx_file: str | None = spec_field(
        None, "Where to write; empty: results_dir/export/model.onnx", path=True
    )
    opset_version: int = spec_field(
        18, "ONNX opset; an older one for an older inference engine", ge=13, le=23
    )
    batch_size: int = spec_field(-1, "Fixed batch size; -1: any", ge=-1)
    input_format: str = spec_field(
        "uint8_nhwc",
        "uint8_nhwc: images as they are, normalized in the graph; float_nchw: the caller normalizes",
        choices=("uint8_nhwc", "float_nchw"),
    )
    one_file: bool = spec_field(
        False,
        "A model of several graphs, such as two towers, as one; all of it is computed in every call",
    )
    tolerance: float = spec_field(1e-4, "Largest difference to torch that passes", gt=0, le=1)
    results_dir: str | None = spec_field(
        None, "Folder of this stage's results; empty: `results_dir/export`", path=True
    )

    def check(self) -> Iterator[Problem]:
        """-1 and positive numbers are batch sizes; zero is not."""
        if self.batch_size == 0:
            yield Problem("batch_size", "0 is not allowed; give -1 (any) or at least 1")


@dataclass
class DatasetCheckSpec:
    """Looks for bad data before hours are spent on it."""

    likely_wrong_labels: bool = spec_field(
        True, "Look for images whose neighbours bear another label (needs weights at hand)"
    )
    max_pictures: int = spec_field(60, "Images on the contact sheet", ge=0)
    results_dir: str | None = spec_field(
        None, "Folder of this stage's results; empty: `results_dir/dataset_check`", path=True
    )


@dataclass
class CommonSpec:
    """What every task's spec has; a task adds `model` and `dataset`."""

    results_dir: str = spec_field(
        "results", "Folder of the results; each stage has its own inside", path=True
    )
    train: TrainSpec = spec_block(TrainSpec, "Training")
    evaluate: EvaluateSpec = spec_block(EvaluateSpec, "Evaluation")
    inference: InferenceSpec = spec_block(InferenceSpec, "Inference")
    prune: PruneSpec = spec_block(PruneSpec, "Pruning")
    export: ExportSpec = spec_block(ExportSpec, "Export to ONNX")
    quantize: QuantizeSpec = spec_block(QuantizeSpec, "Quantization to int8")
    compare: CompareSpec = spec_block(CompareSpec, "Comparison of models")
    dataset_check: DatasetCheckSpec = spec_block(DatasetCheckSpec, "Check of the data")
    automl: AutomlSpec = spec_block(AutomlSpec, "Search for hyper-parameters")
    execution: ExecutionSpec = spec_block(ExecutionSpec, "Where the command line has it run")

    ignored: ClassVar[Mapping[str, str]] = IGNORED_TAO_KEYS
    moved: ClassVar[Mapping[str, str | tuple[str, ...]]] = MOVED_TAO_KEYS
    refused: ClassVar[Mapping[str, str]] = {}
