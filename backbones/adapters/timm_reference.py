"""timm's own path from an image to features, which its adapter is certified against."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import timm
import torch
from timm.data import create_transform  # type: ignore[attr-defined]
from timm.data.config import resolve_model_data_config
from timm.models import Beit, Eva, VisionTransformer, VisionTransformerSAM
from torch import Tensor, nn

from backbones.adapters.timm_models import pinned
from backbones.base import Backbone, Preprocess
from backbones.places import Places
from backbones.reference import Reference, model_of, not_comparable

ONE_GRID = (VisionTransformer, Eva, Beit, VisionTransformerSAM)
"""Transformers of one grid of patches: ``forward_features`` gives its tokens, SAM's the map that its neck makes."""


def reference(reference: str, places: Places) -> Reference:
    """timm's own evaluation transform, and its model without the head."""
    return _own_path(timm.create_model(pinned(reference), pretrained=True))


def untrained_reference(reference: str, backbone: Backbone, places: Places) -> Reference:
    """The same around a model timm builds anew, with the weights of ``backbone``."""
    fresh = timm.create_model(reference, pretrained=False)
    fresh.load_state_dict(model_of(backbone).state_dict())
    return _own_path(fresh)


def build_plainly(architecture: str, kwargs: dict[str, Any]) -> nn.Module:
    """A card's architecture by timm's own constructor, which takes None as it is meant."""
    model: nn.Module = timm.models.model_entrypoint(architecture)(pretrained=False, **kwargs)
    return model


def stated_path(model: nn.Module, preprocess: Preprocess) -> Reference:
    """timm's own transform with the numbers that a card states, and the model without the head.

    What timm's transform has not is not compared: the ways to crop other than ``center`` and ``squash``.
    """
    crop = {"center": "center", "squash": "squash"}.get(preprocess.crop)
    if crop is None:
        return replace(_own_path(model), transform=not_comparable(f"timm does not crop as {preprocess.crop!r} says"))
    stated = {
        "input_size": (3, *preprocess.size),
        "interpolation": preprocess.interpolation,
        "mean": preprocess.mean,
        "std": preprocess.std,
        "crop_pct": min(preprocess.size) / preprocess.resize,
        "crop_mode": crop,
    }
    return _own_path(model, stated)


def _own_path(model: nn.Module, stated: dict[str, Any] | None = None) -> Reference:
    config = stated or resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    model.eval()
    headless = copy.deepcopy(model)
    headless.reset_classifier(0)  # type: ignore[operator]
    return Reference(create_transform(**config, is_training=False), headless, dense_path(model))


def dense_path(model: nn.Module) -> Callable[[Tensor], dict[int, Tensor]] | None:
    """timm's dense output of a full pass: that of one grid, else of each stage; None where it has neither."""
    return partial(_last_map, model) if isinstance(model, ONE_GRID) else _hooked_maps(model)


def _last_map(model: Any, images: Tensor) -> dict[int, Tensor]:
    """``forward_features``: what timm's own pooling is given, so after the final norm. Class tokens come first."""
    found = model.forward_features(images)
    if found.ndim == 3:
        grid = model.patch_embed.dynamic_feat_size(images.shape[-2:])
        found = found[:, model.num_prefix_tokens :].unflatten(1, grid).permute(0, 3, 1, 2)
    return {images.shape[-1] // found.shape[-1]: found}


def _hooked_maps(model: nn.Module) -> Callable[[Tensor], dict[int, Tensor]] | None:
    """What the modules that timm declares as its stages put out in a full pass; None where that is tokens."""
    stages = {each["reduction"]: each for each in getattr(model, "feature_info", []) if isinstance(each, dict)}

    def maps(images: Tensor) -> dict[int, Tensor]:
        found: dict[int, Tensor] = {}
        hooks = [
            model.get_submodule(stage["module"]).register_forward_hook(
                lambda _module, _inputs, output, stride=stride: found.__setitem__(stride, output)
            )
            for stride, stage in stages.items()
        ]
        try:
            model(images)
        finally:
            for hook in hooks:
                hook.remove()
        return {stride: _channels_first(each, stages[stride]["num_chs"]) for stride, each in found.items()}

    with torch.no_grad():
        probe = maps(torch.zeros(1, *model.pretrained_cfg["input_size"])) if stages else {}  # type: ignore[index]
    dense = probe and all(each.ndim == 4 and each.shape[1] == stages[s]["num_chs"] for s, each in probe.items())
    return maps if dense else None


def _channels_first(output: Tensor, channels: int) -> Tensor:
    """Swin and SAM 2 keep channels last."""
    last = output.ndim == 4 and output.shape[1] != channels == output.shape[3]
    return output.permute(0, 3, 1, 2) if last else output


REFERENCES = {"timm": reference}
UNTRAINED_REFERENCES = {"timm": untrained_reference}
