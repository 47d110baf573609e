"""From the spec to a way of generating."""

from __future__ import annotations

from dataclasses import replace

from tao_like.runtime.choices import DIFFUSION
from tao_like.runtime.generation.autoregressive import AutoregressiveGenerator
from tao_like.runtime.generation.base import Generator
from tao_like.runtime.generation.cascade import CascadeGenerator
from tao_like.runtime.generation.diffusion import DiffusionGenerator
from tao_like.runtime.generation.schedules import spaced
from tao_like.runtime.generation.unclip import UnclipGenerator
from tao_like.tasks.text_to_image.spec import DALLE, GLIDE, Spec


def generator_for(spec: Spec) -> Generator:
    """What makes images with the graphs of the spec's network."""
    model, sampling = spec.model, spec.sampling
    if model.arch == DALLE:
        codes = model.dalle.code_count
        return AutoregressiveGenerator(
            grid=model.image_size // 2 ** (model.dalle.dvae_groups - 1),
            codes=codes,
            temperature=sampling.temperature,
            top_k=min(sampling.top_k, codes),
            top_p=sampling.top_p,
            guidance_scale=sampling.guidance_scale,
        )
    diffusion = DiffusionGenerator(
        height=model.image_size,
        width=model.image_size,
        schedule=model.diffusion.schedule,
        train_steps=model.diffusion.steps,
        prediction=model.diffusion.prediction,
        variance=model.diffusion.variance,
        timesteps=spaced(model.diffusion.steps, sampling.steps),
        sampler=sampling.sampler,
        eta=sampling.eta,
        guidance_scale=sampling.guidance_scale,
    )
    if model.arch == GLIDE:
        guided = model.glide.noised_clip.enable
        glide = replace(diffusion, inpaints=model.glide.inpaint, noised_clip=guided)
        return _enlarged(spec, glide.changed(clip_guidance_scale=sampling.clip_guidance_scale))
    own = sampling.unclip
    unclip = UnclipGenerator(
        decoder=diffusion,
        embedding=model.unclip.embedding if model.unclip.prior == DIFFUSION else model.unclip.prior_codes,
        prior=model.unclip.prior,
        prior_timesteps=spaced(model.diffusion.steps, own.prior_steps),
        prior_guidance_scale=own.prior_guidance_scale,
        candidates=own.candidates,
        condition=own.condition,
    )
    return _enlarged(spec, unclip)


def _enlarged(spec: Spec, base: DiffusionGenerator | UnclipGenerator) -> Generator:
    """With the spec's upsamplers, if it has any."""
    model, steps = spec.model, spec.sampling.upsampler_steps
    upsamplers = [
        DiffusionGenerator(
            height=side,
            width=side,
            schedule=model.diffusion.schedule,
            train_steps=model.diffusion.steps,
            prediction=model.upsampler.prediction,
            timesteps=spaced(model.diffusion.steps, steps),
            guidance_scale=1.0,
        )
        for side in model.upsampler.sides
    ]
    return CascadeGenerator(base, upsamplers) if upsamplers else base
