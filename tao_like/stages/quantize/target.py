"""For which processors a file is made: the bits of its weights."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from tao_like.config.blocks.quantize import QuantizeSpec
from tao_like.runtime.processor import ANY_PROCESSOR, EIGHT_BITS, SEVEN_BITS, WIDE_PROCESSORS
from tao_like.stages.lib.processor import Processor


@dataclass(frozen=True)
class Target:
    """What a file is made for.

    Attributes:
        name: ``any``, ``this``, ``vnni`` or ``arm``, as the spec says.
        key: of the spec that decided.
        reduce_range: weights of 7 bits: two products of 7 by 8 bits come to at most 2 * 64 * 255 = 32,640,
            which 16 bits hold; of 8 by 8 bits to 2 * 127 * 255 = 64,770, which they do not.
    """

    name: str
    key: str
    reduce_range: bool

    @property
    def processors(self) -> str:
        """Where the file is right in any program."""
        return ANY_PROCESSOR if self.reduce_range else WIDE_PROCESSORS

    def to_dict(self) -> dict[str, str | int]:
        """For the metadata of the file and report.json."""
        return {
            "weights": SEVEN_BITS if self.reduce_range else EIGHT_BITS,
            "weight_bits": 7 if self.reduce_range else 8,
            "target": self.name,
            "processors": self.processors,
        }

    def text(self) -> str:
        """A sentence for people."""
        if self.reduce_range:
            return f"Weights have 7 bits ({self.key}): the file is right on any processor."
        return (
            f"Weights have 8 bits ({self.key}): the file is for {self.processors}. On other processors sums "
            "of two products overflow, and its predictions are wrong without a word"
            f"{'' if self.name in ('vnni', 'arm') else '; quantize.target=any makes a file for all'}."
        )


def choose_target(spec: QuantizeSpec, processor: Processor) -> Target:
    """What `quantize.target` asks for; `quantize.reduce_range`, of older specs, decides over it.

    Args:
        spec: its check has seen to it that both do not contradict each other.
        processor: this machine's, which the target ``this`` and the older ``auto`` mean.
    """
    if spec.reduce_range == "auto":
        return Target("this", "quantize.reduce_range: auto", processor.overflows)
    if spec.reduce_range is not None:
        reduced = bool(spec.reduce_range)
        key = f"quantize.reduce_range: {str(reduced).lower()}"
        return Target("any" if reduced else "vnni", key, reduced)
    reduced = processor.overflows if spec.target == "this" else spec.target == "any"
    return Target(spec.target, f"quantize.target: {spec.target}", reduced)


def measurement_note(target: Target, processor: Processor, machine: str | None = None) -> str | None:
    """A sentence where speed here says little of the target; None where it does.

    Args:
        machine: kind of processor; None: this one's.
    """
    if not target.reduce_range and processor.overflows:
        return (
            "This processor has no VNNI: int8 is computed here in a slower form that does not overflow, so "
            "the metrics hold, unless a warning says that a file has no such form; the latency is not "
            "the target's"
        )
    is_arm = (machine or platform.machine()).lower() in ("aarch64", "arm64")
    if target.name == "arm" and not is_arm:
        return "The latency was measured on x86; measure it on the target with compare"
    return None
