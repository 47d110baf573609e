"""Images code by code: a transformer says the next code, and a decoder makes pixels of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError
from tao_like.runtime.generation.base import (
    IMAGE,
    SEED,
    TEXT,
    Arrays,
    Generator,
    GraphCall,
    Noise,
    check_setting,
    required,
    unknown_settings,
)

BEGIN_GRAPH, NEXT_GRAPH, DECODE_GRAPH = "begin", "next", "decoder"
MOST_TEMPERATURE, MOST_GUIDANCE = 100.0, 100.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AutoregressiveGenerator:
    """Draws the codes of an image one after another.

    Attributes:
        grid: side of the codes.
        codes: size of their vocabulary.
        temperature: divides the logits; 0: always the likeliest code.
        top_k: of the likeliest codes alone; 0: of all.
        top_p: of the likeliest codes that together have this probability; 1: of all.
        guidance_scale: s in l0 + s (l1 - l0) for the logits without and with the caption; 1: none.
    """

    grid: int
    codes: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    guidance_scale: float = 1.0

    kind: ClassVar[str] = "autoregressive"
    graphs: ClassVar[tuple[str, ...]] = (BEGIN_GRAPH, NEXT_GRAPH, DECODE_GRAPH)

    def __post_init__(self) -> None:
        """Refuse values without meaning, with a BundleError."""
        if self.grid < 1 or self.codes < 1:
            raise BundleError(
                f"generation.grid is {self.grid} and codes {self.codes}; both must be 1 or more."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AutoregressiveGenerator:
        """Reads what `to_dict` gave. Raises BundleError."""
        return cls(**required(values, tuple(one.name for one in fields(cls))))

    def to_dict(self) -> dict[str, Any]:
        """The settings, as JSON."""
        return asdict(self)

    def rehearsals(self) -> list[Generator]:
        """See `Generator`."""
        return [self]

    def changed(self, **settings: Any) -> AutoregressiveGenerator:
        """With another ``temperature``, ``top_k``, ``top_p`` or ``guidance_scale``. Raises SpecError."""
        ranges = {
            "temperature": (0.0, MOST_TEMPERATURE),
            "top_k": (0, self.codes),
            "top_p": (0.0, 1.0),
            "guidance_scale": (0.0, MOST_GUIDANCE),
        }
        unknown_settings(settings, ranges, "draws codes")
        for name, value in settings.items():
            check_setting(name, value, *ranges[name])
        return replace(self, **settings)

    def run(self, call: GraphCall, given: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Images for captions and seeds; see `Generator`."""
        noise = Noise(given[SEED])
        text = given[TEXT]
        if self.guidance_scale == 0:
            text = np.zeros_like(text)
        double = self.guidance_scale not in (0, 1)
        if double:
            text = np.concatenate([text, np.zeros_like(text)])
        state = call(BEGIN_GRAPH, {TEXT: text})
        past = state["past"]
        drawn = []
        for number in range(self.grid**2):
            code = self.draw(self._guided(state["logits"], double), noise.uniform())
            drawn.append(code)
            if number + 1 < self.grid**2:
                both = np.concatenate([code, code]) if double else code
                state = call(NEXT_GRAPH, {TEXT: text, "code": both, "past": past})
                past = state["past_next"]
        codes = np.stack(drawn, axis=1).reshape(-1, self.grid, self.grid)
        pixels = call(DECODE_GRAPH, {"codes": codes})["pixels"]
        return {IMAGE: np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))}

    def _guided(self, logits: npt.NDArray[Any], double: bool) -> Floats:
        wide: Floats = logits.astype(np.float64)
        if not double:
            return wide
        with_text, without = np.split(wide, 2)
        return without + self.guidance_scale * (with_text - without)

    def draw(self, logits: Floats, chance: Floats) -> npt.NDArray[np.int64]:
        """One code a sample.

        Args:
            logits: (N, codes).
            chance: (N,), 0 to below 1: where in the cumulated probabilities the code is taken.

        Returns:
            (N,) int64.
        """
        if self.temperature == 0:
            likeliest: npt.NDArray[np.int64] = logits.argmax(axis=1)
            return likeliest
        order = np.argsort(-logits, axis=1, kind="stable")
        ranked = np.take_along_axis(logits, order, axis=1) / self.temperature
        fractions = np.exp(ranked - ranked[:, :1])
        if self.top_k:
            fractions[:, self.top_k :] = 0
        fractions /= fractions.sum(axis=1, keepdims=True)
        if self.top_p < 1:
            # The first code is kept in any case.
            beyond = np.cumsum(fractions, axis=1) - fractions >= self.top_p
            beyond[:, 0] = False
            fractions[beyond] = 0
            fractions /= fractions.sum(axis=1, keepdims=True)
        position = (np.cumsum(fractions, axis=1) <= chance[:, None]).sum(axis=1)
        last = (fractions > 0).sum(axis=1) - 1
        chosen = np.minimum(position, last)
        return np.take_along_axis(order, chosen[:, None], axis=1)[:, 0].astype(np.int64)
