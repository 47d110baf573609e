"""How well images fit texts, by a trained model of the task `clip`: a judge for tasks that make images.

The tasks do not know each other: a judge is opened by its file, through what every task offers (a bundle's
graphs in torch, with gradients) or through the runtime (an exported folder, without torch's network).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from tao_like import runtime
from tao_like.bundle import file_sha256
from tao_like.contract.restored import restored
from tao_like.errors import BundleError, SpecError
from tao_like.networks.weights.checkpoints import BUNDLE_SUFFIX
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.predictions.embedding import EMBEDDING, TEXT_EMBEDDING
from tao_like.tasks import task_class
from tao_like.tasks.common.image_input import IMAGE

TASK = "clip"
TEXT = "text"
CLIP_SCORE_WEIGHT = 2.5
"""Of CLIP-S (Hessel et al. 2021, equation 1): 2.5 * max(cosine, 0)."""
_BATCH = 64

Floats = npt.NDArray[np.float32]
Images = Sequence[Image.Image] | npt.NDArray[np.uint8]
"""Pillow images, or an array (N, height, width, 3) of 0 to 255; of any size."""


class PairJudge(ABC):
    """Puts images and texts into one space.

    Attributes:
        path: of its file.
        sha256: of its bundle, for reports.
    """

    path: Path
    sha256: str

    def __init__(self) -> None:
        self._texts: dict[str, Floats] = {}

    @property
    @abstractmethod
    def image_size(self) -> tuple[int, int]:
        """Height and width that its image tower looks at, in pixels."""

    def embed_images(self, images: Images) -> Floats:
        """(N, D) of length 1."""
        pillow = [Image.fromarray(one) if isinstance(one, np.ndarray) else one for one in images]
        parts = [self._image_batch(pillow[at : at + _BATCH]) for at in range(0, len(pillow), _BATCH)]
        return np.concatenate(parts)

    def embed_texts(self, texts: Sequence[str]) -> Floats:
        """(N, D) of length 1; a text that was asked about is remembered."""
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        for at in range(0, len(new), _BATCH):
            some = new[at : at + _BATCH]
            self._texts |= dict(zip(some, self._text_batch(some), strict=True))
        return np.stack([self._texts[text] for text in texts])

    def cosines(self, images: Images, texts: Sequence[str]) -> Floats:
        """(N,): of each image with its own text."""
        found: Floats = (self.embed_images(images) * self.embed_texts(texts)).sum(axis=1)
        return found

    def clip_scores(self, images: Images, texts: Sequence[str]) -> Floats:
        """(N,): CLIP-S of each image with its own text, 0 to 2.5 (Hessel et al. 2021)."""
        return (CLIP_SCORE_WEIGHT * self.cosines(images, texts).clip(min=0)).astype(np.float32)

    @abstractmethod
    def _image_batch(self, images: Sequence[Image.Image]) -> Floats: ...

    @abstractmethod
    def _text_batch(self, texts: Sequence[str]) -> Floats: ...


class BundleJudge(PairJudge):
    """Of a bundle, in torch: its cosines have gradients with respect to the pixels.

    Args:
        path: the bundle.
        device: where it computes.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.path, self.device = path, torch.device(device)
        found = restored(task_class(TASK), path)
        self.sha256 = file_sha256(path)
        self._inputs = found.task.inputs
        found.network.requires_grad_(False).to(self.device)
        graphs = found.task.exports(found.network, self._inputs[IMAGE].format)
        self._image, self._text = (graphs[name].module.to(self.device) for name in (IMAGE, TEXT))

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width that its image tower looks at, in pixels."""
        preprocessing = ImagePreprocessing.from_dict(self._inputs[IMAGE].preprocessing)
        return preprocessing.height, preprocessing.width

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        """Embeddings (N, D) of length 1, with gradients.

        Args:
            pixels: (N, 3, height, width), 0 to 255, of any size; they are scaled to the tower's, both sides
                on their own, and not rounded to whole numbers.
        """
        if tuple(pixels.shape[2:]) != self.image_size:
            pixels = functional.interpolate(pixels, self.image_size, mode="bicubic", antialias=True)
        found: Tensor = self._image(pixels.clamp(0, 255).permute(0, 2, 3, 1))
        return found

    @torch.no_grad()
    def _image_batch(self, images: Sequence[Image.Image]) -> Floats:
        pixels = torch.from_numpy(self._inputs[IMAGE].preprocess(images)).to(self.device)
        found: Floats = self._image(pixels).cpu().numpy()
        return found

    @torch.no_grad()
    def _text_batch(self, texts: Sequence[str]) -> Floats:
        ids = torch.from_numpy(self._inputs[TEXT].preprocess(texts)).to(self.device)
        found: Floats = self._text(ids)[0].cpu().numpy()
        return found


class ExportedJudge(PairJudge):
    """Of an exported folder, or of one file that quantize has left, in onnxruntime.

    Args:
        path: the folder or the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._model = runtime.load(path)
        metadata = self._model.metadata
        if metadata.task != TASK:
            raise BundleError(f"{path} is a model of the task {metadata.task}, not of {TASK}")
        self.sha256 = metadata.bundle_sha256
        self._outputs = {meaning: name for name, meaning in metadata.outputs.items()}

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width that its image tower looks at, in pixels."""
        preprocessing = self._model.inputs[IMAGE].preprocessing
        return preprocessing.height, preprocessing.width

    def _image_batch(self, images: Sequence[Image.Image]) -> Floats:
        return self._run(IMAGE, images, EMBEDDING)

    def _text_batch(self, texts: Sequence[str]) -> Floats:
        return self._run(TEXT, texts, TEXT_EMBEDDING)

    def _run(self, name: str, given: Sequence[Image.Image] | Sequence[str], meaning: str) -> Floats:
        batch = np.stack([self._model.prepare({name: one})[name] for one in given])
        return self._model.run_preprocessed({name: batch})[self._outputs[meaning]].astype(np.float32)


def open_judge(given: str, key: str, device: torch.device | str = "cpu") -> PairJudge:
    """The judge of a file that a spec names.

    Args:
        given: a bundle of `clip`, the folder that its export has left, or the file of its quantize.
        key: of the spec, for messages.
        device: where a bundle computes.

    Raises:
        SpecError: there is no such file.
        BundleError: it is of another task, or damaged.
    """
    path = Path(given)
    if not path.exists():
        raise SpecError(f"{key}: there is no file {path}; give a bundle that `tao-like clip train` has left")
    try:
        return BundleJudge(path, device) if path.suffix == BUNDLE_SUFFIX else ExportedJudge(path)
    except BundleError as error:
        raise BundleError(f"{key}: {error}") from error


def open_guide(given: str, key: str, device: torch.device | str = "cpu") -> BundleJudge:
    """The same where gradients are wanted. Raises SpecError for an exported file, which has none."""
    judge = open_judge(given, key, device)
    if not isinstance(judge, BundleJudge):
        raise SpecError(
            f"{key}={given} is an exported model, which gives no gradients, and images are changed by them "
            f"here; name the bundle that it was exported from ({BUNDLE_SUFFIX})"
        )
    return judge
