"""Images out of noise, step by step: DDPM and DDIM with classifier-free guidance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError, SpecError
from tao_like.runtime.choices import PREDICTIONS, SAMPLERS, SCHEDULES, VARIANCES
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
from tao_like.runtime.generation.clip_guide import GUIDE_GRAPHS, ClipGuide
from tao_like.runtime.generation.edit import EDITS, HALF, KNOWN, Edit
from tao_like.runtime.generation.schedules import alphas_cumprod, spaced, step_back

TEXT_GRAPH, STEP_GRAPH = "text_encoder", "denoiser"
MOST_GUIDANCE = 100.0

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Process:
    """A diffusion process, or those of its steps that a sampler takes.

    Attributes:
        kept: the fraction of variance that is left after each taken step, rising steps, (S,).
        timesteps: what the network is told at each, (S,).
    """

    kept: npt.NDArray[np.float64]
    timesteps: npt.NDArray[np.int64]

    @classmethod
    def of(cls, schedule: str, train_steps: int, timesteps: list[int]) -> Process:
        """The steps of a schedule that are taken."""
        kept = alphas_cumprod(schedule, train_steps)[timesteps]
        return cls(kept, np.array(timesteps, np.int64))

    def before(self, number: int) -> float:
        """What is left after the step before: all of it before the first."""
        return float(self.kept[number - 1]) if number else 1.0


@dataclass(frozen=True)
class DiffusionGenerator:
    """Takes noise away until an image is left.

    Attributes:
        height, width: of the images, in pixels.
        schedule: see `schedules.betas`.
        train_steps: of the whole process.
        prediction: what the network says: the noise (``epsilon``), ``v`` (Salimans and Ho 2022) or ``x0``.
        variance: of DDPM's steps: ``fixed_small``, ``fixed_large``, or ``learned_range``, for which the
            network has three more channels (Nichol and Dhariwal 2021, equation 15).
        timesteps: those that the sampler takes, rising.
        sampler: ``ddim`` (Song et al. 2021) or ``ddpm``.
        eta: fraction of DDPM's noise that DDIM adds in each step; 0: none.
        guidance_scale: s in e0 + s (e1 - e0), e0 without and e1 with the caption: 1 is the plain network
            with its caption, 0 the one without.
        clip_denoised: the image that is foreseen stays between -1 and 1.
        inpaints: the network is told what is known of the image, in four more channels.
        noised_clip: there are the graphs of a noised CLIP.
        clip_guidance_scale: factor of its gradient; 0: it is not asked.
        edit: an image to change; None: images are made of noise alone. It is no part of a file.
    """

    height: int
    width: int
    schedule: str = "squaredcos_cap_v2"
    train_steps: int = 1000
    prediction: str = "epsilon"
    variance: str = "fixed_small"
    timesteps: list[int] = field(default_factory=lambda: spaced(1000, 50))
    sampler: str = "ddim"
    eta: float = 0.0
    guidance_scale: float = 3.0
    clip_denoised: bool = True
    inpaints: bool = False
    noised_clip: bool = False
    clip_guidance_scale: float = 0.0
    edit: Edit | None = None

    kind: ClassVar[str] = "diffusion"

    def __post_init__(self) -> None:
        """Refuse values without meaning, with a BundleError."""
        for name, allowed in (
            ("schedule", SCHEDULES),
            ("prediction", PREDICTIONS),
            ("variance", VARIANCES),
            ("sampler", SAMPLERS),
        ):
            if getattr(self, name) not in allowed:
                raise BundleError(
                    f"generation.{name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}."
                )
        steps = self.timesteps
        rising = steps == sorted(set(steps)) and steps and steps[0] >= 0 and steps[-1] < self.train_steps
        if not rising:
            raise BundleError(
                f"generation.timesteps must be rising numbers from 0 to {self.train_steps - 1}, not {steps}."
            )
        if self.clip_guidance_scale and not self.noised_clip:
            raise BundleError(
                f"generation.clip_guidance_scale is {self.clip_guidance_scale}, and there is no noised CLIP."
            )

    @property
    def graphs(self) -> tuple[str, ...]:
        """See `Generator`."""
        return (TEXT_GRAPH, STEP_GRAPH, *(GUIDE_GRAPHS if self.noised_clip else ()))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DiffusionGenerator:
        """Reads what `to_dict` gave. Raises BundleError."""
        later = {"inpaints": False, "noised_clip": False, "clip_guidance_scale": 0.0}
        return cls(**required({**later, **values}, _setting_names()))

    def to_dict(self) -> dict[str, Any]:
        """The settings, as JSON."""
        return {name: getattr(self, name) for name in _setting_names()}

    def rehearsals(self) -> list[Generator]:
        """See `Generator`."""
        guided = [replace(self, clip_guidance_scale=1.0)] if self.noised_clip else []
        return [self, *guided]

    def changed(self, **settings: Any) -> DiffusionGenerator:
        """With another ``steps``, ``guidance_scale``, ``clip_guidance_scale``, ``sampler`` or ``eta``.

        ``image`` (with ``mask`` or ``strength``) is an image to change, see `Edit`.

        Raises:
            SpecError: a setting is unknown or has no meaning.
        """
        scales = dict.fromkeys(("guidance_scale", "clip_guidance_scale"), (0.0, MOST_GUIDANCE))
        ranges = {**scales, "eta": (0.0, 1.0), "steps": (1, self.train_steps)}
        unknown_settings(settings, {**ranges, "sampler": SAMPLERS, **EDITS}, "takes noise away")
        given = {name: settings.pop(name) for name in EDITS if settings.get(name) is not None}
        if given:
            settings["edit"] = Edit.of(given, self.height, self.width)
        for name, (low, high) in ranges.items():
            if name in settings:
                check_setting(name, settings[name], low, high)
        if settings.get("clip_guidance_scale") and not self.noised_clip:
            raise SpecError(
                "clip_guidance_scale is given, and this model has no noised CLIP; train one with it "
                "(model.glide.noised_clip.enable=true)."
            )
        if settings.get("sampler", "ddim") not in SAMPLERS:
            raise SpecError(f"sampler is {settings['sampler']!r}; it must be one of {', '.join(SAMPLERS)}.")
        if "steps" in settings:
            settings["timesteps"] = spaced(self.train_steps, int(settings.pop("steps")))
        return replace(self, **settings)

    def painting(self, images: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> DiffusionGenerator:
        """Paints into each image of a batch, (N, H, W, 3), where the mask (H, W) is white."""
        pixels = (images.astype(np.float32) / HALF - 1).transpose(0, 3, 1, 2)
        return replace(self, edit=Edit(pixels, (mask > HALF).astype(np.float32)[None, None], 1.0))

    def run(self, call: GraphCall, given: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Images for captions and seeds; see `Generator`."""
        noise = Noise(given[SEED])
        text = given[TEXT]
        condition = call(TEXT_GRAPH, {TEXT: text})
        if self.guidance_scale != 1:
            without = call(TEXT_GRAPH, {TEXT: np.zeros_like(text)})
            if self.guidance_scale == 0:
                condition = without
            else:
                condition = {name: np.concatenate([condition[name], without[name]]) for name in condition}
        scale = self.clip_guidance_scale
        guide = ClipGuide.of(call, text, scale) if scale else None
        pixels = self.denoise(call, noise.normal((3, self.height, self.width)), condition, noise, guide)
        return {IMAGE: as_images(pixels)}

    def process(self) -> Process:
        """The steps that are taken."""
        return Process.of(self.schedule, self.train_steps, self.timesteps)

    def denoise(
        self, call: GraphCall, x: Floats, condition: Arrays, noise: Noise, guide: ClipGuide | None = None
    ) -> Floats:
        """Takes the noise away from x (N, 3, H, W).

        Args:
            call: runs a graph.
            x: as it begins.
            condition: what the denoiser is given beside image and timestep, by name; with guidance 2N of
                them, those without the caption last.
            noise: where random numbers come from.
            guide: a noised CLIP; None: nothing else says where to.

        Returns:
            (N, 3, H, W), about -1 to 1.
        """
        process = self.process()
        steps, own = len(self.timesteps), x
        if self.edit is not None:
            steps = self.edit.steps(steps)
            x = self.edit.noisy(float(process.kept[steps - 1]), own)
        for number in reversed(range(steps)):
            timestep = int(process.timesteps[number])
            found = self.guided(call, x, timestep, condition)
            gradient = None if guide is None else guide.gradient(x, timestep)
            x = self.step(process, number, x, found, noise, gradient)
            if self.edit is not None:
                x = self.edit.kept(x, process.before(number), own)
        return x

    def guided(self, call: GraphCall, x: Floats, timestep: int, condition: Arrays) -> Floats:
        """What the network says of x at a timestep, both halves of guidance in one call."""
        double = self.guidance_scale not in (0, 1)
        if self.inpaints:
            known = np.zeros((1, KNOWN, self.height, self.width), np.float32)
            known = known if self.edit is None else self.edit.known()
            x = np.concatenate([x, np.broadcast_to(known, (len(x), *known.shape[1:]))], axis=1)
        both = np.concatenate([x, x]) if double else x
        timesteps = np.full(len(both), timestep, np.float32)
        found: Floats = call(STEP_GRAPH, {"x": both, "timesteps": timesteps, **condition})["prediction"]
        if not double:
            return found
        with_text, without = np.split(found, 2)
        guided: Floats = with_text.copy()
        # The variance is that of the half with the caption, as in GLIDE.
        guided[:, :3] = without[:, :3] + np.float32(self.guidance_scale) * (with_text - without)[:, :3]
        return guided

    def step(
        self,
        process: Process,
        number: int,
        x: Floats,
        found: Floats,
        noise: Noise,
        gradient: Floats | None = None,
    ) -> Floats:
        """One step back.

        A gradient moves DDPM's mean by the variance times itself, and DDIM's noise by minus the root of what
        is not left times itself (Dhariwal and Nichol 2021, algorithms 1 and 2).

        Args:
            process: the steps that are taken.
            number: of this one among them.
            x: (N, 3, H, W): as it is now.
            found: (N, 3 or 6, H, W): what the network says of it.
            noise: where random numbers come from.
            gradient: (N, 3, H, W), of the logarithm of how well x fits; None: of nothing.
        """
        kept, before = float(process.kept[number]), process.before(number)
        image, epsilon = self.foreseen(x, found[:, :3], kept)
        if self.sampler == "ddim":
            if gradient is not None:
                image, epsilon = self._shifted(x, epsilon, gradient, kept)
            sigma = self.eta * np.sqrt((1 - before) / (1 - kept) * (1 - kept / before))
            mean = np.sqrt(before) * image + np.sqrt(max(1 - before - sigma**2, 0.0)) * epsilon
            deviation: Any = sigma
        else:
            of_image, of_noisy, *_ = step_back(kept, before)
            mean = of_image * image + of_noisy * x
            deviation = self._deviation(process, number, found)
            if gradient is not None and number:  # the last step has no variance
                mean = mean + deviation**2 * gradient
        if number and np.any(deviation):
            mean = mean + deviation * noise.normal(x.shape[1:])
        stepped: Floats = mean.astype(np.float32)
        return stepped

    def foreseen(self, x: Floats, found: Floats, kept: float) -> tuple[Floats, Floats]:
        """The image and the noise that the network's word comes to, each (N, 3, H, W)."""
        signal, spread = np.float32(np.sqrt(kept)), np.float32(np.sqrt(1 - kept))
        if self.prediction == "epsilon":
            image = (x - spread * found) / signal
        elif self.prediction == "v":
            image = signal * x - spread * found
        else:
            image = found
        return self._bounded(x, image, kept)

    def _shifted(self, x: Floats, epsilon: Floats, gradient: Floats, kept: float) -> tuple[Floats, Floats]:
        """Image and noise, each (N, 3, H, W), where a gradient has moved the noise.

        Where little of an image is left the foreseen one moves far, so it is held to its range again.
        """
        signal, spread = np.float32(np.sqrt(kept)), np.float32(np.sqrt(1 - kept))
        return self._bounded(x, (x - spread * (epsilon - spread * gradient)) / signal, kept)

    def _bounded(self, x: Floats, image: Floats, kept: float) -> tuple[Floats, Floats]:
        """A foreseen image, held to its range, and the noise that is the rest of x."""
        if self.clip_denoised:
            image = image.clip(-1, 1)
        return image, (x - np.float32(np.sqrt(kept)) * image) / np.float32(np.sqrt(1 - kept))

    def _deviation(self, process: Process, number: int, found: Floats) -> Any:
        """The standard deviation of DDPM's step."""
        kept, before = float(process.kept[number]), process.before(number)
        *_, small, beta = step_back(kept, before)
        if number == 0:
            # Not zero, whose logarithm has no value: that of the second step, as in Ho et al.
            small = step_back(float(process.kept[1]), kept)[2] if len(process.kept) > 1 else beta
        if self.variance == "fixed_small":
            return np.sqrt(small)
        if self.variance == "fixed_large":
            return np.sqrt(beta)
        # Of an image like none in the training a network may say anything, and without limits it runs away.
        fraction = ((found[:, 3:] + 1) / 2).clip(0, 1)
        logarithm = fraction * np.log(beta) + (1 - fraction) * np.log(small)
        return np.exp(0.5 * logarithm)


def as_images(pixels: Floats) -> Floats:
    """Pixels (N, 3, H, W), -1 to 1, as images (N, H, W, 3), 0 to 1."""
    return np.ascontiguousarray(((pixels + 1) / 2).clip(0, 1).transpose(0, 2, 3, 1))


def _setting_names() -> tuple[str, ...]:
    """What of a generator stands in a file."""
    return tuple(one.name for one in fields(DiffusionGenerator) if one.name != "edit")
