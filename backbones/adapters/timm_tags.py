"""What a timm tag says of a model's pretraining: family, method and data (``lvd142m`` is DINOv2 on LVD-142M)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backbones.base import Family


@dataclass(frozen=True)
class Pretraining:
    """Three fields of a card."""

    family: Family
    method: str
    data: str


METHODS: dict[str, tuple[Family, str]] = {
    "dinov3": ("self-supervised", "DINOv3"),
    "lvd1689m": ("self-supervised", "DINOv3"),
    "sat493m": ("self-supervised", "DINOv3"),
    "dinov2": ("self-supervised", "DINOv2"),
    "lvd142m": ("self-supervised", "DINOv2"),
    "dino": ("self-supervised", "DINO"),
    "fcmae": ("self-supervised", "FCMAE"),
    "mae": ("self-supervised", "MAE"),
    "ijepa": ("self-supervised", "I-JEPA"),
    "mim": ("self-supervised", "masked image modelling"),
    "beitv2": ("self-supervised", "BEiT v2"),
    "sam2": ("segmentation", "Segment Anything 2"),
    "sa1b": ("segmentation", "Segment Anything"),
    "aimv2": ("vision-language", "AIMv2"),
    "vit_pe_": ("vision-language", "Perception Encoder"),
    "mclip2": ("vision-language", "MobileCLIP 2"),
    "mclip": ("vision-language", "MobileCLIP"),
    "v2_webli": ("vision-language", "SigLIP 2"),
    "siglip": ("vision-language", "SigLIP"),
    "clipa": ("vision-language", "CLIPA"),
    "clip": ("vision-language", "CLIP"),
    "openai": ("vision-language", "CLIP"),
    "laion": ("vision-language", "CLIP"),
    "datacomp": ("vision-language", "CLIP"),
    "dfn": ("vision-language", "CLIP"),
    "metaclip": ("vision-language", "MetaCLIP"),
    "webli": ("vision-language", "SigLIP"),
    "swsl": ("supervised", "semi-weakly supervised"),
    "ssl": ("supervised", "semi-supervised"),
}
"""Marks of a method, looked for in the architecture's name and the tag; the first that is there counts."""

DATA: dict[str, str] = {
    "lvd1689m": "LVD-1689M",
    "sat493m": "SAT-493M",
    "lvd142m": "LVD-142M",
    "laion2b": "LAION-2B",
    "laion400m": "LAION-400M",
    "datacompxl": "DataComp-1B",
    "datacomp1b": "DataComp-1B",
    "dfn2b": "DFN-2B",
    "dfn5b": "DFN-5B",
    "webli": "WebLI",
    "openai": "WIT-400M",
    "dfndr2b": "DFNDR-2B",
    "metaclip_400m": "MetaCLIP-400M",
    "metaclip_2pt5b": "MetaCLIP-2.5B",
    "metaclip2": "MetaCLIP 2",
    "merged2b": "Merged-2B",
    "m38m": "Merged-38M",
    "sa1b": "SA-1B",
    "ig1b": "Instagram-1B",
    "yfcc100m": "YFCC-100M",
    "in22k": "ImageNet-22k",
    "in21k": "ImageNet-21k",
    "in12k": "ImageNet-12k",
    "in1k": "ImageNet-1k",
}


UNSAID: dict[str, str] = {
    "DINO": "ImageNet-1k",
    "MAE": "ImageNet-1k",
    "FCMAE": "ImageNet-1k",
    "Segment Anything 2": "SA-1B, SA-V",
    "AIMv2": "DFN-2B, COYO, HQITP",
    "Perception Encoder": "MetaCLIP-5.4B",
    "MobileCLIP": "DataCompDR-1B",
}
"""Data of methods whose tags do not name it, from their papers."""


def describe(config: Mapping[str, Any]) -> Pretraining:
    """Read the tag of a timm ``pretrained_cfg``. A fine-tuned trunk (``_ft_``) is supervised, whatever came before.

    >>> describe({"architecture": "resnet18", "tag": "a1_in1k"})
    Pretraining(family='supervised', method='supervised', data='ImageNet-1k')
    >>> describe({"architecture": "vit_small_patch14_dinov2", "tag": "lvd142m"})
    Pretraining(family='self-supervised', method='DINOv2', data='LVD-142M')
    >>> describe({"architecture": "vit_base_patch16_clip_224", "tag": "laion2b_ft_in1k"})
    Pretraining(family='supervised', method='CLIP, then supervised', data='LAION-2B, ImageNet-1k')
    """
    tag = str(config.get("tag") or "")
    text = f"{config.get('architecture') or ''}.{tag}"
    family, method = next((value for mark, value in METHODS.items() if mark in text), ("supervised", "supervised"))
    if "_ft_" in f"_{tag}_" and family != "supervised":
        family, method = "supervised", f"{method}, then supervised"
    data = [name for mark, name in DATA.items() if mark in tag]
    return Pretraining(family, method, ", ".join(data) or UNSAID.get(method, "unknown"))
