"""Diffusion transformers: DiT (class-conditional, read under its null class) and PixArt (under the empty prompt).

``block{N}`` is the output of block N, counted from 0. An embedding is read from the middle block at t = 0 without
noise: half of the network runs. Denoisers are read best in the middle, their last blocks turn to pixels (DDAE: Xiang et
al., 2023; REPA: Yu et al., 2025); other depths, and noise, are among the readouts.
"""

from typing import Any

import torch
from torch import Tensor, nn

from backbones.adapters.diffusion.denoiser import Denoiser, Timesteps
from backbones.adapters.diffusion.folder import PipelineFolder
from backbones.adapters.diffusion.latents import Latents
from backbones.adapters.diffusion.prompt import encode_masked
from backbones.adapters.maps import Map, tokens_to_map

PIXART_TOKENS = {"PixArtSigmaPipeline": 300}
"""Longest prompt of a pipeline; PixArt-alpha's is 120."""
CANDIDATES = 8


class _Transformer(Denoiser):
    """What the two have in common: one width and one stride from the first block to the last."""

    def __init__(self, model: Any, condition: dict[str, Tensor]) -> None:
        super().__init__(model, condition)
        model.norm_out = None  # after the last block: never executed
        self.patch = int(model.config.patch_size)
        self.blocks = tuple(f"block{index}" for index in range(len(model.transformer_blocks)))
        self.default = self.promising = self.blocks[max(len(self.blocks) // 2 - 1, 0)]

    def module_of(self, block: str) -> nn.Module:
        """A block by its number."""
        return self.model.transformer_blocks[int(block.removeprefix("block"))]  # type: ignore[no-any-return]

    def as_map(self, output: Tensor, latents: Latents) -> Map:
        """Patches, row by row."""
        return tokens_to_map(output, (latents.shape[2] // self.patch, latents.shape[3] // self.patch))

    def pyramid(self) -> dict[str, int]:
        """The one map there is."""
        return {self.default: self.patch}

    def candidates(self) -> tuple[str, ...]:
        """Every eighth of the depth."""
        depth = len(self.blocks)
        chosen = {-(-depth * part // CANDIDATES) - 1 for part in range(1, CANDIDATES + 1)}
        return tuple(self.blocks[index] for index in sorted(chosen | {self.blocks.index(self.default)}))

    def executed(self) -> list[tuple[str, list[nn.Module]]]:
        """The blocks of an embedding."""
        last = self.blocks.index(self.default)
        return [(f"transformer.{name}", [self.module_of(name)]) for name in self.blocks[: last + 1]]


class DiTDenoiser(_Transformer):
    """Peebles and Xie, 2023; the condition is the class that stands for none."""

    method = "latent diffusion, class-conditional"

    def __init__(self, model: Any, condition: dict[str, Tensor]) -> None:
        super().__init__(model, condition)
        model.proj_out_1 = model.proj_out_2 = None

    def predict(self, latents: Latents, timesteps: Timesteps) -> object:
        """The library's own forward pass."""
        return self.model(latents, timesteps, self.constant("class_labels", latents.shape[0]))

    def groups(self) -> list[tuple[str, list[nn.Module]]]:
        """Patches, then the blocks, each with time and class embeddings of its own."""
        return [("transformer.patches", [self.model.pos_embed]), *self.executed()]


class PixArtDenoiser(_Transformer):
    """Chen et al., 2023; the condition is the empty prompt and, where the model takes it, the trained image size."""

    method = "latent diffusion, text-conditional"

    def __init__(self, model: Any, condition: dict[str, Tensor]) -> None:
        super().__init__(model, condition)
        model.proj_out = None
        del model.scale_shift_table  # of the output layer

    def predict(self, latents: Latents, timesteps: Timesteps) -> object:
        """The library's own forward pass."""
        batch = latents.shape[0]
        told = self.model.use_additional_conditions
        size = {name: self.constant(name, batch) if told else None for name in ("resolution", "aspect_ratio")}
        return self.model(
            latents,
            encoder_hidden_states=self.constant("encoder_hidden_states", batch),
            encoder_attention_mask=self.constant("encoder_attention_mask", batch),
            timestep=timesteps,
            added_cond_kwargs=size,
        )

    def groups(self) -> list[tuple[str, list[nn.Module]]]:
        """Patches with what all blocks share of time and prompt, then the blocks."""
        model = self.model
        shared = [model.adaln_single, *([model.caption_projection] if model.caption_projection is not None else [])]
        return [("transformer.patches", [model.pos_embed, *shared]), *self.executed()]


def transformer_denoiser(pipeline: PipelineFolder, image_size: int, weights: bool) -> Denoiser:
    """Read the transformer and encode its condition; ``weights=False``: untrained, under a prompt drawn at random.

    Raises ``ValueError`` for a transformer that is neither DiT nor PixArt.
    """
    from diffusers import DiTTransformer2DModel, PixArtTransformer2DModel

    config = pipeline.config("transformer")
    named = config.get("_class_name")
    if named == "Transformer2DModel":  # what both were called before diffusers 0.29
        named = {"ada_norm_zero": DiTTransformer2DModel, "ada_norm_single": PixArtTransformer2DModel}.get(
            config.get("norm_type", ""), nn.Module
        ).__name__
    get = pipeline.read if weights else pipeline.build
    if named == "DiTTransformer2DModel":
        null = config.get("num_embeds_ada_norm", 1000)  # the classes are counted from 0, so this is the one after them
        return DiTDenoiser(get(DiTTransformer2DModel, "transformer"), {"class_labels": torch.tensor([null])})
    if named == "PixArtTransformer2DModel":
        condition = _encoded(pipeline) if weights else _drawn(config)
        model = get(PixArtTransformer2DModel, "transformer")
        size = {"resolution": [[image_size, image_size]], "aspect_ratio": [[1]]}
        return PixArtDenoiser(
            model, condition | {name: torch.tensor(value, dtype=torch.float32) for name, value in size.items()}
        )
    raise ValueError(
        f"diffusers:{pipeline.reference}: its transformer is a {config.get('_class_name')}; "
        "known are DiTTransformer2DModel and PixArtTransformer2DModel"
    )


def _encoded(pipeline: PipelineFolder) -> dict[str, Tensor]:
    length = PIXART_TOKENS.get(str(pipeline.config("").get("_class_name")), 120)
    hidden, attended = encode_masked(pipeline, length)
    return {"encoder_hidden_states": hidden, "encoder_attention_mask": attended}


def _drawn(config: Any) -> dict[str, Tensor]:
    width = config.get("caption_channels") or config["cross_attention_dim"]
    return {"encoder_hidden_states": torch.randn(1, 1, width), "encoder_attention_mask": torch.ones(1, 1).long()}
