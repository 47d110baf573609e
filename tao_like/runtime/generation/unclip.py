"""unCLIP (DALL-E 2): a prior says the image's CLIP embedding, and a decoder makes an image of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError, SpecError
from tao_like.runtime.choices import CONDITIONS, DIFFUSION, PRIORS
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
from tao_like.runtime.generation.diffusion import (
    MOST_GUIDANCE,
    STEP_GRAPH,
    TEXT_GRAPH,
    DiffusionGenerator,
    Process,
    as_images,
)
from tao_like.runtime.generation.journey import JOURNEYS, Journey, slerp
from tao_like.runtime.generation.priors import PRIOR_GRAPH, Asked, by_codes, by_diffusion
from tao_like.runtime.generation.schedules import spaced

EMBEDDING_GRAPH, IMAGE_GRAPH, SPACE_GRAPH = "embedding", "image_encoder", "embedding_space"
LABELS = "labels"
"""Name of the probabilities (N, K) of labels, where images are judged by such."""
MOST_CANDIDATES = 64
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class UnclipGenerator:
    """Draws an embedding for a caption, and then an image for the embedding.

    Attributes:
        decoder: how images are made, `DiffusionGenerator`; its guidance leaves out embedding and caption.
        embedding: numbers that the prior draws: of `DIFFUSION` the length of an embedding, of `CODES` how
            many codes stand for one.
        prior: the kind of it.
        prior_timesteps: those of the decoder's process that the prior's sampler takes, rising.
        prior_guidance_scale: the same formula as the decoder's, for the caption alone.
        candidates: embeddings that are drawn, of which the nearest to the caption's is taken.
        condition: one of `CONDITIONS`.
        journey: begins with a given image; None: with a caption.
    """

    decoder: DiffusionGenerator
    embedding: int
    prior_timesteps: list[int]
    prior: str = "diffusion"
    prior_guidance_scale: float = 1.0
    candidates: int = 2
    condition: str = "prior"
    journey: Journey | None = None

    kind: ClassVar[str] = "unclip"
    graphs: ClassVar[tuple[str, ...]] = (TEXT_GRAPH, PRIOR_GRAPH, EMBEDDING_GRAPH, STEP_GRAPH, IMAGE_GRAPH)

    def __post_init__(self) -> None:
        """Refuse values without meaning, with a BundleError."""
        steps, last = self.prior_timesteps, self.decoder.train_steps - 1
        if not (steps and steps == sorted(set(steps)) and steps[0] >= 0 and steps[-1] <= last):
            raise BundleError(
                f"generation.prior_timesteps must be rising numbers from 0 to {last}, not {steps}."
            )
        if self.prior not in PRIORS:
            raise BundleError(f"generation.prior is {self.prior!r}; it must be one of {', '.join(PRIORS)}.")
        if self.condition not in CONDITIONS:
            raise BundleError(
                f"generation.condition is {self.condition!r}; it must be one of {', '.join(CONDITIONS)}."
            )
        if self.embedding < 1 or not 1 <= self.candidates <= MOST_CANDIDATES:
            raise BundleError(
                f"generation.embedding is {self.embedding} and candidates {self.candidates}; both must be 1 "
                f"or more, and candidates at most {MOST_CANDIDATES}."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> UnclipGenerator:
        """Reads what `to_dict` gave. Raises BundleError."""
        given = required(values, _setting_names())
        return cls(**{**given, "decoder": DiffusionGenerator.from_dict(given["decoder"])})

    def to_dict(self) -> dict[str, Any]:
        """The settings, as JSON."""
        own = {name: getattr(self, name) for name in _setting_names()}
        return {**own, "decoder": self.decoder.to_dict()}

    def rehearsals(self) -> list[Generator]:
        """See `Generator`."""
        blank = np.zeros((self.decoder.height, self.decoder.width, 3), np.uint8)
        # Without any component: that much is known of every space.
        ways: list[dict[str, Any]] = [{}, {"components": [0]}]
        begun = [self.changed(image=blank, **way) for way in ways]
        return [replace(self, condition="prior", journey=None), *begun]

    def changed(self, **settings: Any) -> UnclipGenerator:
        """With other settings of the decoder's sampler or of the prior's, or with an image to begin with.

        ``image`` gives images like it; with ``image_to`` those on the way to another one; with ``caption``
        those on the way from what that says to what the prompt says; with ``components`` what its embedding's
        first principal components tell. See `Journey`.

        Raises:
            SpecError: a setting is unknown or has no meaning.
        """
        last = self.decoder.train_steps
        ranges = {
            "prior_steps": (1, last),
            "prior_guidance_scale": (0.0, MOST_GUIDANCE),
            "candidates": (1, MOST_CANDIDATES),
        }
        own = {*ranges, "condition", *JOURNEYS}
        of_decoder = ("guidance_scale", "steps", "sampler", "eta")
        unknown_settings(settings, dict.fromkeys([*sorted(own), *of_decoder]), "goes through embeddings")
        decoder = self.decoder.changed(**{name: settings[name] for name in of_decoder if name in settings})
        changes: dict[str, Any] = {name: settings[name] for name in ranges if name in settings}
        for name, value in changes.items():
            check_setting(name, value, *ranges[name])
        if settings.get("condition", CONDITIONS[0]) not in CONDITIONS:
            raise SpecError(
                f"condition is {settings['condition']!r}; it must be one of {', '.join(CONDITIONS)}."
            )
        if "condition" in settings:
            changes["condition"] = settings["condition"]
        if "prior_steps" in changes:
            changes["prior_timesteps"] = spaced(last, int(changes.pop("prior_steps")))
        given = {name: settings[name] for name in JOURNEYS if settings.get(name) is not None}
        if given:
            changes["journey"] = Journey.of(given, decoder.height, decoder.width)
        return replace(self, decoder=decoder, **changes)

    def run(self, call: GraphCall, given: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Images for captions and seeds; see `Generator`."""
        journey = self.journey
        noise = Noise(given[SEED] if journey is None else journey.noise_seeds(given[SEED]))
        text = given[TEXT]
        words = call(TEXT_GRAPH, {TEXT: text})
        without = call(TEXT_GRAPH, {TEXT: np.zeros_like(text)})
        if journey is None:
            x = noise.normal((3, self.decoder.height, self.decoder.width))
            image = self._image(call, words, without, noise)
        else:
            if journey.components:
                x = noise.normal((3, self.decoder.height, self.decoder.width))
                image = self._reconstructed(call, journey, given[SEED])
            else:
                x, image = self._begun(call, journey, words, without, given[SEED])
            # What is to be seen is in the embedding and in x; a caption would pull elsewhere.
            words = without
        condition = self._condition(image, words, without, self.decoder.guidance_scale)
        made = self.decoder.denoise(call, x, condition, noise)
        if journey is None:
            return {IMAGE: as_images(made)}
        made = journey.with_given(made, given[SEED])
        judged = {} if journey.labels is None else {LABELS: self._judged(call, made, journey.labels)}
        return {IMAGE: as_images(made), **judged}

    # --- the prior ---

    def _image(self, call: GraphCall, words: Arrays, without: Arrays, noise: Noise) -> Floats:
        """The embedding of the image that is to be, (N, D) of length 1; zeros: there is none."""
        if self.condition == "text":
            own: Floats = words["text_embedding"]
            return own
        if self.condition == "caption":
            return np.zeros_like(words["text_embedding"])
        return self.drawn(call, words, without, noise)

    def drawn(self, call: GraphCall, words: Arrays, without: Arrays, noise: Noise) -> Floats:
        """Of the embeddings that the prior draws the nearest to the caption's, (N, D) of length 1.

        Args:
            call: runs a graph.
            words: what the text encoder gives for the captions; without: the same for empty ones.
            noise: where random numbers come from.
        """
        count = len(words["text_embedding"])
        # One sample's candidates stand together.
        many, none = (
            {name: np.repeat(value, self.candidates, axis=0) for name, value in one.items()}
            for one in (words, without)
        )
        asked = Asked(call, many, none, self.prior_guidance_scale)
        if self.prior == DIFFUSION:
            x = noise.normal((self.candidates, self.embedding)).reshape(-1, self.embedding)
            process = Process.of(self.decoder.schedule, self.decoder.train_steps, self.prior_timesteps)
            drawn: npt.NDArray[Any] = by_diffusion(asked, x, process)
        else:
            chances = np.stack([noise.normal((self.candidates,)) for _ in range(self.embedding)])
            drawn = by_codes(asked, chances.reshape(self.embedding, -1))
        found = call(EMBEDDING_GRAPH, {"drawn": drawn})["image_embedding"]
        near = (found * many["text_embedding"]).sum(axis=1).reshape(count, self.candidates)
        chosen: Floats = found.reshape(count, self.candidates, -1)[np.arange(count), near.argmax(axis=1)]
        return chosen

    # --- the decoder ---

    def _condition(self, image: Floats, words: Arrays, without: Arrays, scale: float) -> Arrays:
        """What the denoiser is given beside image and timestep."""
        heard = {"image_embedding": image, **{name: words[name] for name in ("text_embedding", "tokens")}}
        blank = {name: without[name] for name in ("text_embedding", "tokens")}
        blank["image_embedding"] = np.zeros_like(image)
        if scale == 1:
            return heard
        if scale == 0:
            return blank
        return {name: np.concatenate([heard[name], blank[name]]) for name in heard}

    def _begun(
        self, call: GraphCall, journey: Journey, words: Arrays, without: Arrays, seeds: npt.NDArray[Any]
    ) -> tuple[Floats, Floats]:
        """The noise and the embedding for each sample of a journey, (N, 3, H, W) and (N, D)."""
        count = len(seeds)
        blank = {name: value[:1] for name, value in without.items()}
        ends = [self._turned_back(call, one, blank) for one in journey.images]
        if journey.rows:
            rows = journey.cells(seeds)[0]
            noise, image = (np.concatenate(one)[rows] for one in zip(*ends, strict=True))
            return noise, image
        positions = journey.places(seeds)
        noise, image = (np.repeat(one, count, axis=0) for one in ends[0])
        if len(ends) == 2:
            return slerp(noise, ends[1][0], positions), slerp(image, ends[1][1], positions)
        if journey.caption is not None:
            # The difference of two captions is a direction, in which the image's embedding is turned.
            source = call(TEXT_GRAPH, {TEXT: journey.caption})["text_embedding"]
            towards = words["text_embedding"] - source
            towards = towards / np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-6)
            return noise, slerp(image, towards.astype(np.float32), positions * np.float32(journey.turn))
        return noise, image

    def _reconstructed(self, call: GraphCall, journey: Journey, seeds: npt.NDArray[Any]) -> Floats:
        """The images' embeddings by as many components as each sample keeps, (N, D). Raises SpecError."""
        rows, columns = journey.cells(seeds)
        pixels = (np.concatenate(journey.images) + 1) / 2
        image = call(IMAGE_GRAPH, {"pixels": pixels})["image_embedding"]
        # The first of a row is the image itself, whatever is made for it.
        counts = np.array([0, *journey.components], np.float32)[columns]
        found = call(SPACE_GRAPH, {"image_embedding": image[rows], "components": counts})
        if counts.any() and not found["known"].all():
            raise SpecError(
                "this model was trained by an earlier version, which did not keep the principal components "
                "of its training's embeddings; train it again, and it will know them."
            )
        reconstructed: Floats = found["reconstruction"]
        return reconstructed

    def _judged(self, call: GraphCall, made: Floats, labels: npt.NDArray[np.int64]) -> Floats:
        """Probabilities of labels (K, T) for images (N, 3, H, W), -1 to 1, by the model's CLIP, (N, K)."""
        image = call(IMAGE_GRAPH, {"pixels": ((made + 1) / 2).clip(0, 1)})["image_embedding"]
        text = call(TEXT_GRAPH, {TEXT: labels})["text_embedding"]
        none = np.zeros(len(image), np.float32)
        scale = call(SPACE_GRAPH, {"image_embedding": image, "components": none})["scale"]
        logits = scale[:, None] * (image @ text.T)
        likelihoods = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: Floats = likelihoods / likelihoods.sum(axis=1, keepdims=True)
        return found

    def _turned_back(self, call: GraphCall, pixels: Floats, without: Arrays) -> tuple[Floats, Floats]:
        """The noise of which DDIM makes an image (1, 3, H, W), -1 to 1, and its embedding.

        Each step of DDIM is an equation for the noisier image; what the network foresees there is taken from
        the image of the step before (Song et al. 2021, section 4.3). Putting the solution in again does not
        converge: the network's slope is too steep.
        """
        image = call(IMAGE_GRAPH, {"pixels": (pixels + 1) / 2})["image_embedding"]
        plain = replace(self.decoder, guidance_scale=1.0)
        condition = self._condition(image, without, without, 1.0)
        process = plain.process()
        x = (np.sqrt(process.kept[0]) * pixels).astype(np.float32)
        for number in range(1, len(plain.timesteps)):
            kept, before = float(process.kept[number]), process.before(number)
            ratio = np.sqrt((1 - before) / (1 - kept))
            fraction = np.sqrt(before) - ratio * np.sqrt(kept)
            found = plain.guided(call, x, int(process.timesteps[number]), condition)
            made, _ = plain.foreseen(x, found[:, :3], kept)
            x = ((x - fraction * made) / ratio).astype(np.float32)
        return x, image


def _setting_names() -> tuple[str, ...]:
    """What of a generator stands in a file."""
    return tuple(one.name for one in fields(UnclipGenerator) if one.name != "journey")
