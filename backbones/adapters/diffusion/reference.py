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

from backbones.adapters.diffusion.folder import PipelineFolder, find_pipeline
from backbones.adapters.diffusion.models import DiffusionBackbone, denoiser_part, image_size
from backbones.base import Backbone
from backbones.places import Places
from backbones.reference import Reference, copy_weights


def reference(reference: str, places: Places) -> Reference:
    """The pipeline's own classes, its ``encode_prompt`` and the denoiser's whole forward pass at t = 0."""
    pipeline = find_pipeline(reference, places)
    part, side, folder = denoiser_part(pipeline), image_size(pipeline), pipeline.path

    def read(kind: Any, subfolder: str) -> Any:
        return kind.from_pretrained(folder, subfolder=subfolder, use_safetensors=True, low_cpu_mem_usage=False).eval()

    model = read(_class_of(pipeline), part)
    return _own_path(read(diffusers.AutoencoderKL, "vae"), model, _encoded(model, folder, side), side)


def untrained_reference(reference: str, backbone: Backbone, places: Places) -> Reference:
    """The same around models the library builds anew, with weights and condition of ``backbone``."""
    if not isinstance(backbone, DiffusionBackbone):
        raise TypeError(f"{backbone.card.name} is a {type(backbone).__name__}, no diffusion backbone")
    pipeline = find_pipeline(reference, places, weights=False)

    def build(kind: Any, subfolder: str, twin: nn.Module) -> Any:
        fresh = kind.from_config(kind.load_config(pipeline.path, subfolder=subfolder)).eval()
        copy_weights(twin, fresh)
        return fresh

    denoiser = backbone.denoiser
    vae = build(diffusers.AutoencoderKL, "vae", backbone.encoder.vae)
    model = build(_class_of(pipeline), denoiser_part(pipeline), denoiser.model)
    return _own_path(vae, model, dict(denoiser.condition.named_buffers()), image_size(pipeline))


Condition = Mapping[str, Tensor]
Predict = Callable[[Tensor, Tensor], Any]


def _own_path(vae: Any, model: Any, condition: Condition, side: int) -> Reference:
    """The image is resized and cut by torchvision, as Stable Diffusion's training did.

    The library's own crop is off by half a pixel where an odd number of columns is left over. Its image processor then
    makes the tensor.
    """
    fit = Compose([Resize(side, InterpolationMode.BICUBIC, antialias=True), CenterCrop(side)])
    processor = VaeImageProcessor(do_resize=False)
    predict, blocks = _PATHS[type(model)](model, condition)
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


def _class_of(pipeline: PipelineFolder) -> Any:
    if denoiser_part(pipeline) == "unet":
        return diffusers.UNet2DConditionModel
    captions = pipeline.config("transformer").get("caption_channels")
    return diffusers.PixArtTransformer2DModel if captions else diffusers.DiTTransformer2DModel


def _encoded(model: Any, folder: Path, side: int) -> Condition:
    """The empty prompt as the library's own pipeline encodes it, and the size that SDXL and PixArt are told."""
    if isinstance(model, diffusers.PixArtTransformer2DModel):
        text, mask = _pixart(folder)
        size = {"resolution": torch.tensor([[side, side]]), "aspect_ratio": torch.ones(1, 1)}
        return {"encoder_hidden_states": text, "encoder_attention_mask": mask, **size}
    if isinstance(model, diffusers.DiTTransformer2DModel):
        return {}
    if model.config.addition_embed_type == "text_time":
        text, pooled = _stable_diffusion_xl(folder)
        size = {"time_ids": torch.tensor([[side, side, 0, 0, side, side]])}
        return {"encoder_hidden_states": text, "text_embeds": pooled, **size}
    return {"encoder_hidden_states": _stable_diffusion(folder)}


def _unet_path(unet: Any, condition: Condition) -> tuple[Predict, dict[int, nn.Module]]:
    def predict(latents: Tensor, timesteps: Tensor) -> Any:
        given = _repeated(condition, len(latents))
        return unet(latents, timesteps, given.pop("encoder_hidden_states"), added_cond_kwargs=given)

    levels = {8 << level: _before_halving(block) for level, block in enumerate(unet.down_blocks)}
    return predict, levels | {8 << (len(levels) - 1): unet.mid_block or levels[8 << (len(levels) - 1)]}


def _dit_path(model: Any, condition: Condition) -> tuple[Predict, dict[int, nn.Module]]:
    def predict(latents: Tensor, timesteps: Tensor) -> Any:
        null = torch.full((len(latents),), model.config.num_embeds_ada_norm)
        return model(latents, timesteps, null)

    return predict, _middle(model)


def _pixart_path(model: Any, condition: Condition) -> tuple[Predict, dict[int, nn.Module]]:
    def predict(latents: Tensor, timesteps: Tensor) -> Any:
        given = _repeated(condition, len(latents))
        told = model.use_additional_conditions
        size = {name: given[name] if told else None for name in ("resolution", "aspect_ratio")}
        text, mask = given["encoder_hidden_states"], given["encoder_attention_mask"]
        return model(latents, text, timesteps, size, None, None, mask)

    return predict, _middle(model)


_PATHS: Mapping[type, Callable[[Any, Condition], tuple[Predict, dict[int, nn.Module]]]] = {
    diffusers.UNet2DConditionModel: _unet_path,
    diffusers.DiTTransformer2DModel: _dit_path,
    diffusers.PixArtTransformer2DModel: _pixart_path,
}


def _middle(model: Any) -> dict[int, nn.Module]:
    return {8 * model.config.patch_size: model.transformer_blocks[model.config.num_layers // 2 - 1]}


def _repeated(condition: Condition, batch: int) -> dict[str, Tensor]:
    return {name: value.repeat(batch, *[1] * (value.ndim - 1)) for name, value in condition.items()}


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
UNTRAINED_REFERENCES = {"diffusers": untrained_reference}
