"""The library's own image processor and forward pass, which ``huggingface:`` backbones are certified against."""

import inspect
from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2
from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

from backbones.adapters.huggingface.files import Repository, open_repository, processor_of
from backbones.adapters.huggingface.kinds import Kind
from backbones.adapters.huggingface.preprocess import preprocess_of
from backbones.adapters.maps import deepest_by_stride, tokens_to_map
from backbones.base import Backbone, Preprocess
from backbones.places import Places
from backbones.reference import Reference, copy_weights, model_of


def reference(reference: str, places: Places) -> Reference:
    """An instance of its own, read by the library alone."""
    repository = open_repository(reference, places)
    library = getattr(transformers, repository.architecture, getattr(transformers, repository.kind.model))
    whole = library.from_pretrained(str(repository.folder), dtype=torch.float32, local_files_only=True).eval()
    return _own_path(repository, whole)


def untrained_reference(reference: str, backbone: Backbone, places: Places) -> Reference:
    """The same around a model the library builds anew, with the weights of ``backbone`` in its image tower."""
    repository = open_repository(reference, places, weights=False)
    kind = repository.kind
    library = getattr(transformers, repository.architecture, getattr(transformers, kind.model))
    config = library.config_class.from_pretrained(str(repository.folder), local_files_only=True)
    whole = library._from_config(config, dtype=torch.float32).eval()
    twin = model_of(backbone)
    copy_weights(twin, _counterpart(whole, kind, twin))
    return _own_path(repository, whole)


def _counterpart(whole: Any, kind: Kind, twin: nn.Module) -> nn.Module:
    """Where in the library's model the twin's weights belong: a depth model's trunk may be held one level deeper."""
    own: nn.Module = whole if isinstance(twin, type(whole)) else whole.base_model
    if kind.alone:
        trunk = whole.get_submodule("backbone" if getattr(whole, "backbone", None) is not None else kind.tower)
        own = getattr(trunk, type(twin).__name__.removesuffix("Model").lower(), trunk)
    return own


def _own_path(repository: Repository, whole: Any) -> Reference:
    kind, processor = repository.kind, processor_of(repository)
    model = whole if repository.architecture == kind.model else whole.base_model
    return Reference(
        partial(_transform, processor, preprocess_of(processor, repository.name)),
        partial(_embed, model, kind),
        partial(_maps, model, kind),
    )


def _transform(processor: Any, preprocess: Preprocess, image: Image.Image) -> Tensor:
    """What keeps an image's aspect gets its central square, cut by torchvision: a batch has one size."""
    if getattr(processor, "keep_aspect_ratio", False) or hasattr(processor, "max_num_patches"):
        resize = v2.Resize(preprocess.resize, InterpolationMode(preprocess.interpolation))
        image = v2.CenterCrop(preprocess.size)(resize(image))
    values: Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
    if hasattr(processor, "max_num_patches"):
        side, rows = processor.patch_size, preprocess.size[0] // processor.patch_size
        values = values.view(rows, rows, side, side, 3).permute(4, 0, 2, 1, 3).reshape(3, *preprocess.size)
    return values


def _embed(model: Any, kind: Kind, images: Tensor) -> Tensor:
    """What the library's documentation says to read: ``get_image_features``, ``image_embeds``, ``pooler_output``."""
    vectors: Tensor
    if kind.text:
        vectors = model.get_image_features(**_arguments(kind, model.vision_model, images)).pooler_output
        return vectors
    output = _forward(model, kind, images)
    states = output.last_hidden_state
    if getattr(output, "image_embeds", None) is not None:
        vectors = output.image_embeds
    elif kind.pooled == "map":
        vectors = states.mean((2, 3))
    elif kind.pooled == "cls":
        vectors = states[:, 0]
    elif getattr(output, "pooler_output", None) is not None and kind.pooled == "pooler":
        vectors = output.pooler_output.flatten(1)
    else:
        vectors = states[:, int(kind.has_cls and not _is_swin(_trunk(model))) :].mean(1)
    return vectors


def _maps(model: Any, kind: Kind, images: Tensor) -> Mapping[int, Tensor]:
    """The library's hidden states: the stages' before they are downsampled, or the output tokens as a map."""
    size = (images.shape[-2], images.shape[-1])
    trunk = _trunk(model)
    if _is_swin(trunk):
        states = trunk.encoder(
            *trunk.embeddings(images), output_hidden_states=True, output_hidden_states_before_downsampling=True
        ).reshaped_hidden_states
        return deepest_by_stride(iter(states), size)
    if kind.layout == "stages":
        states = model(images, output_hidden_states=True).hidden_states
        stages = [each for each in states if each.ndim == 4 and each.shape[-2:] != images.shape[-2:]]
        return deepest_by_stride(iter(stages), size)
    tower = model.vision_model if kind.tower == "vision_model" else model
    tokens = _forward(tower, kind, images).last_hidden_state
    stride = _patch_size(model.config)
    return {stride: tokens if tokens.ndim == 4 else tokens_to_map(tokens, (size[0] // stride, size[1] // stride))}


def _trunk(model: Any) -> Any:
    """A depth model may hold its trunk as a backbone."""
    return getattr(model, "backbone", None) or model


def _is_swin(trunk: Any) -> bool:
    return trunk.config.model_type in ("swin", "swinv2")


def _forward(model: Any, kind: Kind, images: Tensor) -> Any:
    """The library's forward pass of the image tower; a depth model's is that of its trunk."""
    if not kind.alone:
        return model(**_arguments(kind, model, images))
    if kind.tower == "vision_encoder":
        return model.vision_encoder(images)
    if getattr(model, "backbone", None) is None:
        return model.dpt(images)
    trunk, tokens = model.backbone, model.backbone(images, output_hidden_states=True).hidden_states[-1]
    normed = trunk.layernorm(tokens) if hasattr(trunk, "layernorm") else tokens
    return SimpleNamespace(last_hidden_state=normed)


def _arguments(kind: Kind, tower: Any, images: Tensor) -> dict[str, Any]:
    """The arguments of the library's forward pass; those of MAE ask for every patch, in its own order."""
    rows, columns = (side // _patch_size(tower.config) if kind.layout == "tokens" else 0 for side in images.shape[-2:])
    if kind.inputs == "patches":
        side = _patch_size(tower.config)
        whole = images[:, :, : rows * side, : columns * side].numpy()
        patches = [convert_image_to_patches(image, side) for image in whole]
        return {
            "pixel_values": torch.stack([torch.from_numpy(each) for each in patches]),
            "pixel_attention_mask": torch.ones(len(images), rows * columns, dtype=torch.int32),
            "spatial_shapes": torch.tensor([[rows, columns]] * len(images)),
        }
    arguments: dict[str, Any] = {"pixel_values": images}
    if "interpolate_pos_encoding" in inspect.signature(tower.forward).parameters:
        arguments["interpolate_pos_encoding"] = True
    if kind.inputs == "unshuffled":
        tower.config.mask_ratio = 0.0
        arguments["noise"] = torch.linspace(0, 1, rows * columns).repeat(len(images), 1)
    return arguments


def _patch_size(config: Any) -> int:
    for nested in ("vision_config", "backbone_config"):
        config = getattr(config, nested, None) or config
    return int(config.patch_size)


REFERENCES = {"huggingface": reference}
UNTRAINED_REFERENCES = {"huggingface": untrained_reference}
