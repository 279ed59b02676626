"""The UNet of Stable Diffusion 1.x, 2.x and SDXL (``UNet2DConditionModel``), read at any of its blocks.

``down{i}`` is what a level hands on before it is halved, ``mid`` the bottleneck, ``up{i}`` a level's output after it is
doubled (DIFT's numbering). An embedding is read from ``mid`` at t = 0 without noise, as the 2023 study did: its rows
stay comparable, nothing is random, and less than half of the network runs. It differs in one thing: the study put a
fresh GroupNorm before the mean. For meaning the literature reads the decoder at stride 16 under some noise: ``up1`` of
Stable Diffusion (DIFT: Tang et al., 2023; the middle of the decoder: DDAE, Xiang et al., 2023), among the readouts.
"""

from typing import Any

import torch
from torch import Tensor, nn

from backbones.adapters.diffusion.denoiser import Denoiser, Timesteps
from backbones.adapters.diffusion.folder import PipelineFolder
from backbones.adapters.diffusion.latents import Latents
from backbones.adapters.diffusion.prompt import encode_last, encode_penultimate
from backbones.adapters.maps import Map

CLIP_TOKENS = 77
TIME_IDS = 6
UNSUPPORTED = ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type", "time_cond_proj_dim")


class UNetDenoiser(Denoiser):
    """A text-conditional UNet with the empty prompt for a condition."""

    method = "latent diffusion, text-conditional"

    def __init__(self, model: Any, condition: dict[str, Tensor]) -> None:
        super().__init__(model, condition)
        model.conv_norm_out = model.conv_act = model.conv_out = None  # after the last block: never executed
        depth = len(model.down_blocks)
        downs, ups = [[f"{way}{index}" for index in range(depth)] for way in ("down", "up")]
        middle = ["mid"] if model.mid_block is not None else []
        self.blocks = (*downs, *middle, *ups)
        self.default = [*downs, *middle][-1]
        self.promising = ups[max(depth - 3, 0)]

    def predict(self, latents: Latents, timesteps: Timesteps) -> object:
        """The library's own forward pass."""
        batch = latents.shape[0]
        text = self.constant("encoder_hidden_states", batch)
        names = [name for name, _ in self.condition.named_buffers() if name != "encoder_hidden_states"]
        added = {name: self.constant(name, batch) for name in names}
        return self.model(latents, timesteps, text, added_cond_kwargs=added or None)

    def module_of(self, block: str) -> nn.Module:
        """Of a level on the way down its last layer before the halving, which then is not executed."""
        if block == "mid":
            return self.model.mid_block  # type: ignore[no-any-return]
        level = int(block.removeprefix("down").removeprefix("up"))
        if block.startswith("up"):
            return self.model.up_blocks[level]  # type: ignore[no-any-return]
        down = self.model.down_blocks[level]
        attentions = getattr(down, "attentions", None)
        return (attentions or down.resnets)[-1]  # type: ignore[no-any-return]

    def as_map(self, output: Tensor, latents: Latents) -> Map:
        """A UNet's outputs are maps."""
        return output

    def pyramid(self) -> dict[str, int]:
        """Each level on the way down; at the last, what comes after it (``mid``)."""
        depth = len(self.model.down_blocks)
        strides = {f"down{level}": 1 << level for level in range(depth - 1)}
        return {**strides, self.default: 1 << (depth - 1)}

    def groups(self) -> list[tuple[str, list[nn.Module]]]:
        """The time embedding with the first convolution, the levels down, the bottleneck."""
        model = self.model
        added = [model.add_embedding] if hasattr(model, "add_embedding") else []
        middle = [("unet.mid", [model.mid_block])] if model.mid_block is not None else []
        return [
            ("unet.conv_in", [model.conv_in, model.time_embedding, *added]),
            *((f"unet.down{level}", [block]) for level, block in enumerate(model.down_blocks)),
            *middle,
        ]


def unet_denoiser(pipeline: PipelineFolder, image_size: int, weights: bool) -> Denoiser:
    """Read the UNet and encode the empty prompt; ``weights=False``: untrained, under a condition drawn at random.

    SDXL is told that its images were, and are to be, ``image_size`` pixels wide and high, and not cut.
    Raises ``ValueError`` for a UNet that needs more than a prompt (inpainting, an upscaler, image prompts).
    """
    from diffusers import UNet2DConditionModel

    config = pipeline.config("unet")
    double = config.get("addition_embed_type") == "text_time"
    others = [name for name in UNSUPPORTED if config.get(name) is not None]
    if others or (config.get("addition_embed_type") and not double):
        named = ", ".join(f"{name}: {config[name]!r}" for name in [*others, "addition_embed_type"] if config.get(name))
        raise ValueError(
            f"diffusers:{pipeline.reference}: its UNet needs more than a prompt ({named}); "
            "known are Stable Diffusion 1.x and 2.x, and SDXL's base"
        )
    size = torch.tensor([[image_size, image_size, 0, 0, image_size, image_size]], dtype=torch.float32)
    if weights:
        condition = _encoded(pipeline, double)
        model = pipeline.read(UNet2DConditionModel, "unet")
    else:
        model = pipeline.build(UNet2DConditionModel, "unet")
        condition = _drawn(model.config, double)
    return UNetDenoiser(model, {**condition, "time_ids": size} if double else condition)


def _encoded(pipeline: PipelineFolder, double: bool) -> dict[str, Tensor]:
    if not double:
        return {"encoder_hidden_states": encode_last(pipeline)}
    hidden, pooled = encode_penultimate(pipeline)
    return {"encoder_hidden_states": hidden, "text_embeds": pooled}


def _drawn(config: Any, double: bool) -> dict[str, Tensor]:
    hidden = torch.randn(1, CLIP_TOKENS, config.cross_attention_dim)
    if not double:
        return {"encoder_hidden_states": hidden}
    pooled = config.projection_class_embeddings_input_dim - TIME_IDS * config.addition_time_embed_dim
    return {"encoder_hidden_states": hidden, "text_embeds": torch.randn(1, pooled)}
