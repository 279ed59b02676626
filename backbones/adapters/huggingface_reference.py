"""The library's own image processor and forward pass, which ``huggingface:`` backbones are certified against."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from backbones.adapters.huggingface_files import open_repository, processor_of
from backbones.adapters.huggingface_preprocess import preprocess_of
from backbones.base import Preprocess
from backbones.places import Places
from backbones.reference import Reference

TOLERANCES: Mapping[str, float] = {"DINOv3ViTImageProcessor": 2e-2, "SamImageProcessor": 2e-2}
"""DINOv3's processor resizes numbers, not grey levels; Segment Anything's fills up with zeros, not a grey level."""


def reference(reference: str, places: Places) -> Reference:
    """An instance of its own, read by the library alone."""
    repository = open_repository(reference, places)
    kind, processor = repository.kind, processor_of(repository)
    model = getattr(transformers, kind.model).from_pretrained(
        str(repository.folder), dtype=torch.float32, local_files_only=True
    )
    preprocess = preprocess_of(processor, repository.name)
    return Reference(
        partial(_transform, processor, preprocess),
        partial(_embed, model.eval(), kind),
        partial(_maps, model.eval())
        if kind.layout == "stages" and not kind.inner and "dinov3" not in kind.blocks
        else None,
        TOLERANCES.get(type(processor).__name__, 1e-4),
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


REFERENCES = {"huggingface": reference}
