"""Denoisers of the published sizes on the meta device: no memory, no time, but operations can be counted."""

from collections.abc import Callable, Iterable
from typing import Any

import diffusers
import torch
from torch.utils.flop_counter import FlopCounterMode

from backbones.adapters.diffusion.denoiser import Denoiser
from backbones.adapters.diffusion.transformer import DiTDenoiser
from backbones.adapters.diffusion.unet import UNetDenoiser

XL: dict[str, Any] = {
    "sample_size": 128,
    "attention_head_dim": (5, 10, 20),
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
"""What SDXL's UNet differs in from diffusers' defaults, which are Stable Diffusion 1.x's (but for the text's width)."""


def whole_model(name: str) -> tuple[Any, dict[str, torch.Tensor]]:
    """The library's model (``sd15``, ``sdxl``, ``dit-xl-2``) and its condition."""
    with torch.device("meta"):
        if name == "dit-xl-2":
            return diffusers.DiTTransformer2DModel(), {"class_labels": torch.zeros(1, dtype=torch.long)}
        if name == "sdxl":
            text = {"encoder_hidden_states": torch.zeros(1, 77, 2048), "text_embeds": torch.zeros(1, 1280)}
            return diffusers.UNet2DConditionModel(**XL), {**text, "time_ids": torch.zeros(1, 6)}
        unet = diffusers.UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
        return unet, {"encoder_hidden_states": torch.zeros(1, 77, 768)}


def denoiser(name: str) -> Denoiser:
    """The same as the adapter reads it."""
    return (DiTDenoiser if name == "dit-xl-2" else UNetDenoiser)(*whole_model(name))


def flops(run: Callable[[], object]) -> int:
    """The operations that ``run`` executes, as torch counts them (products of matrices, convolutions, attention)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return int(counter.get_total_flops())


def saved(name: str, blocks: Iterable[str]) -> dict[str, float]:
    """Which part of the whole model's operations is not executed where only this block is read, by block."""
    model, condition = whole_model(name)
    side = model.config.sample_size
    latents, steps = torch.zeros(1, 4, side, side, device="meta"), torch.zeros(1, dtype=torch.long, device="meta")
    arguments = dict(condition)
    if "encoder_hidden_states" in arguments:
        text = arguments.pop("encoder_hidden_states")
        arguments = {"encoder_hidden_states": text, "added_cond_kwargs": arguments}
    whole = flops(lambda: model(latents, steps, **arguments))
    read = denoiser(name)
    return {block: 1 - flops(lambda b=block: read(latents, steps, [b])) / whole for block in blocks}  # type: ignore[misc]
