"""What a latent diffusion model sees of an image: its autoencoder's latents, and the noise of a timestep upon them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

NOISE_SEED = 0
"""Every image, run and device gets the same noise, a protocol's constant."""

Latents = Float[Tensor, "batch latent_channels latent_height latent_width"]


class LatentEncoder(nn.Module):
    """The encoder half of diffusers' ``AutoencoderKL``: images in [-1, 1] to latents in the denoiser's scale.

    The mean of the posterior, not a sample of it: the same image gives the same latents. The decoder is dropped.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        del vae.decoder
        vae.post_quant_conv = None
        self.vae = vae
        self.stride = 2 ** (len(vae.config.block_out_channels) - 1)
        self.scale = float(vae.config.scaling_factor)
        self.shift = float(vae.config.shift_factor or 0)

    def forward(self, images: Float[Tensor, "batch 3 rows columns"]) -> Latents:
        """Sides must be multiples of ``stride``, or the rest of the image is cut."""
        mean: Tensor = self.vae.encode(images).latent_dist.mode()
        latents: Tensor = (mean - self.shift) * self.scale
        return latents

    @property
    def finest(self) -> nn.Module:
        """The block whose output has twice the latents' side: the finest map of the 2023 study's detectors."""
        block: nn.Module = self.vae.encoder.down_blocks[-3]
        return block

    def groups(self) -> list[tuple[str, list[nn.Module]]]:
        """Its modules in depth order."""
        encoder, last = self.vae.encoder, self.vae.quant_conv
        return [
            ("vae.conv_in", [encoder.conv_in]),
            *((f"vae.down{index}", [block]) for index, block in enumerate(encoder.down_blocks)),
            ("vae.mid", [encoder.mid_block]),
            ("vae.out", [encoder.conv_norm_out, encoder.conv_out, *([last] if last is not None else [])]),
        ]


@dataclass(frozen=True)
class NoiseSchedule:
    """How much of an image is left after t steps: ``latents * sqrt(kept[t]) + noise * sqrt(1 - kept[t])``.

    The forward process of DDPM (Ho et al., 2020, equation 4), whichever sampler a pipeline comes with.
    """

    kept: tuple[float, ...]

    def noised(self, latents: Latents, timestep: int) -> Latents:
        """Latents with the fixed noise of a timestep; at 0 as they are, as the 2023 study read them."""
        if timestep == 0:
            return latents
        kept = self.kept[timestep]
        return math.sqrt(kept) * latents + math.sqrt(1 - kept) * fixed_noise(latents)


def noise_schedule(config: Mapping[str, Any], reference: str) -> NoiseSchedule:
    """The schedule a pipeline was trained with, from its scheduler's config.

    Raises ``ValueError`` for one that is not that of DDPM (flow matching, EDM).
    """
    from diffusers import DDPMScheduler

    if not {"beta_start", "beta_end", "beta_schedule", "num_train_timesteps"} <= set(config):
        raise ValueError(
            f"diffusers:{reference}: the scheduler {config.get('_class_name')} states no beta_start, beta_end and "
            "beta_schedule; only noise schedules of DDPM are known (no flow matching, no EDM)"
        )
    return NoiseSchedule(tuple(DDPMScheduler.from_config(dict(config)).alphas_cumprod.tolist()))


def fixed_noise(latents: Latents) -> Float[Tensor, "1 latent_channels latent_height latent_width"]:
    """Unit normal noise for latents of this shape, the same for every image; drawn on the CPU so that devices agree.

    Each size has noise of its own: interpolating one draw would blur it and lessen its variance.

    >>> torch.equal(fixed_noise(torch.zeros(1, 4, 2, 2)), fixed_noise(torch.ones(3, 4, 2, 2)))
    True
    """
    generator = torch.Generator().manual_seed(NOISE_SEED)
    return torch.randn(1, *latents.shape[1:], generator=generator).to(latents)
