"""What a check of the data found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tao_like.data.images.files import first_of

Level = Literal["error", "warning", "info"]
_LEVELS: tuple[Level, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        level: ``error`` stops a training, ``warning`` and ``info`` do not.
        code: What kind of thing, for programs: ``corrupt``, ``same_picture_in_splits``, ...
        message: A sentence for users.
        files: The files that it is about.
        groups: Files that belong together, such as copies of one image.
    """

    level: Level
    code: str
    message: str
    files: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        entry: dict[str, Any] = {"level": self.level, "code": self.code, "message": self.message}
        if self.files:
            entry["files"] = list(self.files)
        if self.groups:
            entry["groups"] = [list(group) for group in self.groups]
        return entry

    def text(self, limit: int = 10) -> str:
        """The sentence with its level, and the first ``limit`` files or groups below it."""
        lines = [f"{self.level}: {self.message}"]
        names = [*self.files, *(" = ".join(group) for group in self.groups)]
        if names:
            lines.append(first_of(names, limit))
        return "\n".join(lines)


@dataclass(frozen=True)
class SizeSummary:
    """Smallest, median and largest upright width and height of the readable images, in pixels."""

    width: tuple[int, int, int]
    height: tuple[int, int, int]


@dataclass(frozen=True)
class CheckReport:
    """The result of a check.

    Attributes:
        findings: Errors first, then warnings, then what is merely worth knowing.
        classes: Class names in their order.
        counts: Images of each split and class; in multi-label data one image may count several times.
        images: Images of each split.
        sizes: Sizes of the readable images; None when there are none.
        grey_fraction: Fraction of the readable images without color, 0 to 1; None when there are none.
        full: Whether every image was decoded.
    """

    findings: tuple[Finding, ...]
    classes: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    images: Mapping[str, int]
    sizes: SizeSummary | None = None
    grey_fraction: float | None = None
    full: bool = False
    errors: tuple[Finding, ...] = field(init=False)
    warnings: tuple[Finding, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Sorts the findings by level."""
        ordered = tuple(sorted(self.findings, key=lambda finding: _LEVELS.index(finding.level)))
        object.__setattr__(self, "findings", ordered)
        object.__setattr__(self, "errors", tuple(f for f in ordered if f.level == "error"))
        object.__setattr__(self, "warnings", tuple(f for f in ordered if f.level == "warning"))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        sizes = None
        if self.sizes is not None:
            names = ("smallest", "median", "largest")
            sizes = {
                "width": dict(zip(names, self.sizes.width, strict=True)),
                "height": dict(zip(names, self.sizes.height, strict=True)),
            }
        return {
            "full": self.full,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "findings": [finding.to_dict() for finding in self.findings],
            "classes": list(self.classes),
            "pictures": dict(self.images),
            "counts": {split: dict(counts) for split, counts in self.counts.items()},
            "sizes": sizes,
            "grey_share": self.grey_fraction,
        }
