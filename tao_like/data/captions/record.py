"""An image with what is said about it."""

from __future__ import annotations

from dataclasses import dataclass

from tao_like.data.images.sample import ImageRecord


@dataclass(frozen=True)
class CaptionRecord(ImageRecord):
    """One image with its captions.

    Attributes:
        labels: its class where the data says one, for scores by class; else empty.
        captions: one or more; training draws one each time, scores use the first.
    """

    captions: tuple[str, ...] = ()


def class_captions(name: str, templates: list[str]) -> tuple[str, ...]:
    """The sentences that stand for a class.

    Args:
        name: of the class; underscores are read as spaces.
        templates: sentences with ``{}`` where the name goes.
    """
    spoken = name.replace("_", " ")
    return tuple(dict.fromkeys(template.replace("{}", spoken) for template in templates))
