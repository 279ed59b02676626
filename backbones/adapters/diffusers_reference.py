"""What diffusers itself computes for ``diffusers:`` backbones: whole models, whole pipelines, hooks on their blocks."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from backbones.adapters.diffusers_models import denoiser_part, image_size
from backbones.adapters.diffusion_folder import find_pipeline
from backbones.places import Places
from backbones.reference import Reference


def reference(reference: str, places: Places) -> Reference:
    """The pipeline's own classes, its ``encode_prompt`` and the denoiser's whole forward pass at t = 0.

    The image is resized and cut by torchvision, as Stable Diffusion's training did: the library's own crop is off by
    half a pixel where an odd number of columns is left over. Its image processor then makes the tensor.
    """
    pipeline = find_pipeline(reference, places)
    side, folder = image_size(pipeline), pipeline.path
    fit = Compose([Resize(side, InterpolationMode.BICUBIC, antialias=True), CenterCrop(side)])
    processor = VaeImageProcessor(do_resize=False)
    vae = diffusers.AutoencoderKL.from_pretrained(
        folder, subfolder="vae", use_safetensors=True, low_cpu_mem_usage=False
    ).eval()
    predict, blocks = (_transformer if denoiser_part(pipeline) == "transformer" else _unet)(folder, side)
    pyramid = {**({4: vae.encoder.down_blocks[1]} if len(blocks) > 1 else {}), **blocks}
    deepest = max(blocks)

    def transform(image: Image.Image) -> Tensor:
        made: Tensor = processor.preprocess(fit(image))[0]
        return made

    def maps(images: Tensor, chosen: Mapping[int, nn.Module]) -> dict[int, Tensor]:
        found: dict[int, Tensor] = {}
        hooks = [
            module.register_forward_hook(lambda _, __, output, stride=stride: found.update({stride: output}))
            for stride, module in chosen.items()
        ]
        latents = vae.encode(images).latent_dist.mean * vae.config.scaling_factor
        predict(latents, torch.zeros(len(images), dtype=torch.long))
        for hook in hooks:
            hook.remove()
        cells = {stride: (images.shape[2] // stride, images.shape[3] // stride) for stride in chosen}
        return {stride: _spatial(output, cells[stride]) for stride, output in found.items()}

    return Reference(
        transform=transform,
        embed=lambda images: maps(images, {deepest: blocks[deepest]})[deepest].mean((2, 3)),
        feature_maps=lambda images: maps(images, pyramid),
    )


Predict = Callable[[Tensor, Tensor], Any]


def _unet(folder: Path, side: int) -> tuple[Predict, dict[int, nn.Module]]:
    unet = diffusers.UNet2DConditionModel.from_pretrained(
        folder, subfolder="unet", use_safetensors=True, low_cpu_mem_usage=False
    ).eval()
    if unet.config.addition_embed_type == "text_time":
        text, pooled = _stable_diffusion_xl(folder)
        added = {"text_embeds": pooled, "time_ids": torch.tensor([[side, side, 0, 0, side, side]])}
    else:
        text, added = _stable_diffusion(folder), {}

    def predict(latents: Tensor, timesteps: Tensor) -> Any:
        batch = len(latents)
        repeated = {name: value.repeat(batch, 1) for name, value in added.items()}
        return unet(latents, timesteps, text.repeat(batch, 1, 1), added_cond_kwargs=repeated)

    levels = {8 << level: _before_halving(block) for level, block in enumerate(unet.down_blocks)}
    return predict, levels | {8 << (len(levels) - 1): unet.mid_block or levels[8 << (len(levels) - 1)]}


def _transformer(folder: Path, side: int) -> tuple[Predict, dict[int, nn.Module]]:
    options = {"subfolder": "transformer", "use_safetensors": True, "low_cpu_mem_usage": False}
    if diffusers.DiTTransformer2DModel.load_config(folder, subfolder="transformer").get("caption_channels"):
        model = diffusers.PixArtTransformer2DModel.from_pretrained(folder, **options).eval()
        text, mask = _pixart(folder)
        size: dict[str, Any] = {"resolution": None, "aspect_ratio": None}
        if model.use_additional_conditions:
            size = {"resolution": torch.tensor([[side, side]]), "aspect_ratio": torch.ones(1, 1)}

        def predict(latents: Tensor, timesteps: Tensor) -> Any:
            batch = len(latents)
            repeated = {name: value if value is None else value.repeat(batch, 1) for name, value in size.items()}
            return model(latents, text.repeat(batch, 1, 1), timesteps, repeated, None, None, mask.repeat(batch, 1))
    else:
        model = diffusers.DiTTransformer2DModel.from_pretrained(folder, **options).eval()

        def predict(latents: Tensor, timesteps: Tensor) -> Any:
            null = torch.full((len(latents),), model.config.num_embeds_ada_norm)
            return model(latents, timesteps, null)

    return predict, {8 * model.config.patch_size: model.transformer_blocks[model.config.num_layers // 2 - 1]}


def _stable_diffusion(folder: Path) -> Tensor:
    pipeline = diffusers.StableDiffusionPipeline(
        vae=None,
        text_encoder=transformers.CLIPTextModel.from_pretrained(folder, subfolder="text_encoder"),
        tokenizer=transformers.CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer"),
        unet=None,
        scheduler=diffusers.DDPMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    with torch.no_grad():
        text: Tensor = pipeline.encode_prompt("", "cpu", 1, False)[0]
    return text


def _stable_diffusion_xl(folder: Path) -> tuple[Tensor, Tensor]:
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=None,
        text_encoder=transformers.CLIPTextModel.from_pretrained(folder, subfolder="text_encoder"),
        text_encoder_2=transformers.CLIPTextModelWithProjection.from_pretrained(folder, subfolder="text_encoder_2"),
        tokenizer=transformers.CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer"),
        tokenizer_2=transformers.CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer_2"),
        unet=None,
        scheduler=diffusers.DDPMScheduler(),
        add_watermarker=False,
    )
    with torch.no_grad():
        text, _, pooled, _ = pipeline.encode_prompt("", device="cpu", do_classifier_free_guidance=False)
    return text, pooled


def _pixart(folder: Path) -> tuple[Tensor, Tensor]:
    pipeline = diffusers.PixArtAlphaPipeline(
        tokenizer=transformers.AutoTokenizer.from_pretrained(folder, subfolder="tokenizer"),
        text_encoder=transformers.T5EncoderModel.from_pretrained(folder, subfolder="text_encoder"),
        vae=None,
        transformer=None,
        scheduler=diffusers.DDPMScheduler(),
    )
    with torch.no_grad():
        text, mask, _, _ = pipeline.encode_prompt("", do_classifier_free_guidance=False, device="cpu")
    return text, mask


def _before_halving(block: nn.Module) -> nn.Module:
    layers: Any = getattr(block, "attentions", None) or block.resnets
    last: nn.Module = layers[-1]
    return last


def _spatial(output: Any, cells: tuple[int, int]) -> Tensor:
    tensor: Tensor = output[0] if isinstance(output, tuple) else output
    if tensor.ndim == 4:
        return tensor
    return tensor.transpose(1, 2).reshape(tensor.shape[0], tensor.shape[2], *cells)


REFERENCES = {"diffusers": reference}
