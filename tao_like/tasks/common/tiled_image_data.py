"""The data of tasks that look at big images tile by tile."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from typing_extensions import override

from tao_like.contract.capabilities import Tiles
from tao_like.contract.sample import Split
from tao_like.contract.trained import TrainedState
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.inputs.image.big_images import BigImages
from tao_like.runtime.predictions.tiles import Tiling
from tao_like.tasks.common.image_data import ImageData, SourceT
from tao_like.tasks.common.image_tiles import tiles_of

FILL = 114
"""Grey of the borders around an image, as in YOLOX."""


class TiledImageData(ImageData[SourceT]):
    """Images in splits; big ones are cut into tiles where the spec or an exported file says so.

    Args:
        spec: of the task.
        source: the images of every split.
        trained: what a trained model says of itself; None: it is yet to be trained.
    """

    export_mark: ClassVar[str]
    """What only an exported file says of itself, not a bundle."""

    def __init__(self, spec: Any, source: SourceT, trained: TrainedState | None) -> None:
        super().__init__(spec.dataset, source, spec.results_dir)
        self.spec = spec
        self.trained = trained

    @property
    def interpolation(self) -> str:
        """How images are resized."""
        return "bilinear"

    @property
    def agreement(self) -> float:
        """See `Tiling`."""
        return 1.0

    @abstractmethod
    def tilings(self) -> Sequence[Tiles]:
        """What cuts images into tiles and merges predictions; none where they are not cut."""

    @cached_property
    def preprocessing(self) -> ImagePreprocessing:
        """How an image, or a tile of it, becomes an input."""
        if self.trained:
            return ImagePreprocessing.from_dict(self.trained.preprocessing)
        block = self.block
        return ImagePreprocessing(
            height=block.img_height or block.img_size,
            width=block.img_size,
            resize=block.resize,
            crop_pct=1.0,
            interpolation=self.interpolation,
            fill=FILL,
            window=self.pixel_window(block.pixel_range),
        )

    @property
    def is_tiled(self) -> bool:
        """Whether big images are cut into tiles."""
        return bool(self.block.tiling.enable) if self._exported is None else self.tiling is not None

    @property
    def _exported(self) -> dict[str, Any] | None:
        """What an exported file says besides: all of it, so that predictions are those of the runtime."""
        return self.trained.extra if self.trained and self.export_mark in self.trained.extra else None

    @cached_property
    def tiling(self) -> Tiling | None:
        """How big images are cut; None: they are not."""
        if self._exported is not None:
            return Tiling.of(self._exported)
        settings = self.block.tiling
        if not settings.enable:
            return None
        return Tiling(
            settings.tile_width or self.preprocessing.width,
            settings.tile_height or self.preprocessing.height,
            settings.overlap,
            self.agreement,
        )

    @property
    @override
    def big_images(self) -> BigImages:
        if self.is_tiled:
            return BigImages.READ
        return BigImages.BY_KEY if self._exported is None else BigImages.OF_MODEL

    @override
    def count(self, split: Split) -> int:
        records = self.source.records(split)
        return len(tiles_of(records, self.tiling)) if self.tiling else len(records)

    def given_records(self, split: Split) -> Sequence[Any]:
        """The records of a split. Raises DatasetError where there are none."""
        records = self.source.records(split)
        if not records:
            raise DatasetError(f"there is no {split} data; give {self.key(split)}")
        return records
