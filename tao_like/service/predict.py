"""Exported models that predict or make images at once, the last few kept open."""

from __future__ import annotations

import io
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tao_like.errors import BundleError, SpecError
from tao_like.tracking.files import to_plain

_KEPT = 2


def generates(folder: Path) -> bool:
    """Whether the model of a folder of graphs makes images; one that is damaged does not."""
    from tao_like.runtime.generation.kinds import generator_of
    from tao_like.runtime.pipeline_file import read_pipeline

    try:
        return generator_of(read_pipeline(folder, check_files=False).metadata.extra) is not None
    except BundleError:
        return False


class OpenModels:
    """Models by file. They are this server's own exports; nobody can bring one along."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: OrderedDict[tuple[str, int], Any] = OrderedDict()

    def predict(self, model_file: Path, image_file: Path) -> dict[str, Any]:
        """What a model says of an image.

        Args:
            model_file: an ONNX file, or the folder of a model of several graphs.
            image_file: the image.

        Returns:
            Kind of prediction, width and height of the image, seconds, and the prediction.

        Raises:
            BundleError: the file is no model of the runtime's. DatasetError: the image cannot be read.
        """
        from tao_like.runtime import read_image

        model = self._opened(model_file)
        began = time.perf_counter()
        prediction = model.predict(image_file)
        seconds = time.perf_counter() - began
        width, height = read_image(image_file).size
        content = to_plain(prediction)
        content.pop("source", None)
        return {
            "kind": model.metadata.prediction,
            "width": width,
            "height": height,
            "seconds": round(seconds, 4),
            "prediction": content,
        }

    def generate(
        self, model_file: Path, prompt: str, seed: int, settings: Mapping[str, int | float | str]
    ) -> tuple[bytes, float]:
        """An image of a sentence.

        Args:
            model_file: the folder of a model that makes images.
            prompt: the sentence.
            seed: of its noise; the same one gives the same image.
            settings: of the sampler, other than the model's own.

        Returns:
            A PNG file, whose text chunks say what it was made of, and the seconds that it took.

        Raises:
            BundleError: the model cannot be opened.
            SpecError: it makes no images, or a setting has no meaning.
            DatasetError: the prompt has no form that the model takes.
        """
        from tao_like.runtime.generation.edit import EDITS
        from tao_like.runtime.generation.journey import JOURNEYS

        if beginning := sorted({*EDITS, *JOURNEYS}.intersection(settings)):
            raise SpecError(
                f"{', '.join(beginning)}: an image to begin with is not taken here; run a job of the action "
                "`inference`"
            )
        model = self._opened(model_file)
        if getattr(model, "generator", None) is None:  # a file of one graph has none at all
            raise SpecError("this model makes no images, it predicts; send an image to :predict")
        began = time.perf_counter()
        made = model.generate(prompt, seed=seed, **settings)
        seconds = time.perf_counter() - began
        file = io.BytesIO()
        made.save(file)
        return file.getvalue(), seconds

    def _opened(self, path: Path) -> Any:
        from tao_like.runtime import load
        from tao_like.runtime.pipeline_file import PIPELINE_FILE

        written = path / PIPELINE_FILE if path.is_dir() else path
        key = (str(path), written.stat().st_mtime_ns)
        with self._lock:
            if key not in self._models:
                self._models[key] = load(path)
                while len(self._models) > _KEPT:
                    self._models.popitem(last=False)
            self._models.move_to_end(key)
            return self._models[key]
