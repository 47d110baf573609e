"""Exported models that predict at once, the last few kept open."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from tao_like.tracking.files import to_plain

_KEPT = 2


class OpenModels:
    """Models by file. They are this server's own exports; nobody can bring one along."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: OrderedDict[tuple[str, int], Any] = OrderedDict()

    def predict(self, model_file: Path, image_file: Path) -> dict[str, Any]:
        """What a model says of an image.

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

    def _opened(self, path: Path) -> Any:
        from tao_like.runtime import load

        key = (str(path), path.stat().st_mtime_ns)
        with self._lock:
            if key not in self._models:
                self._models[key] = load(path)
                while len(self._models) > _KEPT:
                    self._models.popitem(last=False)
            self._models.move_to_end(key)
            return self._models[key]
