"""Recipes of detection by name: one for all backbones, a short one, and the 2023 study's by the kind of pyramid.

Of the study (Goldblum et al. 2023) neither the number of GPUs nor the batch behind its learning rates is recorded (two
images a GPU; here 16 in all), nor how a rate was chosen from its four (here on val, carved from train, never on the
images that are reported). Its stochastic depth was set by architecture (ConvNeXt-T 0.4, ConvNeXt-B 0.6 to 0.7, SwinV2-T
0.2, SwinV2-B 0.2 to 0.5): give ``drop_path`` beside the preset. It normalised every backbone as ImageNet's; here
preprocessing belongs to the weights. It had ViTs attend in windows: give ``window: 14``
beside it. Float16 is ``--precision float16``; its Swin, MiDaS and diffusion models were trained in float32.
"""

from collections.abc import Mapping
from typing import Any, Literal

Pyramid = Literal["several-strides", "one-stride", "diffusion"]
"""Of the backbone's maps: those of a convolutional or windowed network, of a plain ViT, of a denoiser."""

_CONVOLVED_BOXES = {"box_convolutions": 4}

BOB_2023_BY_PYRAMID: Mapping[Pyramid, Mapping[str, Any]] = {
    "several-strides": {
        **_CONVOLVED_BOXES,
        "jitter": "short-side-or-crop",
        "short_side": 800,
        "long_side": 1333,
        "short_sides": tuple(range(480, 801, 32)),
        "head_norm": "batch",
        "box_loss": "giou",
    },
    "one-stride": {
        **_CONVOLVED_BOXES,
        "jitter": "large-scale",
        "short_side": 1024,
        "long_side": 1024,
        "scales": (0.1, 2.0),
        "rpn_convolutions": 2,
        "rpn_norm": "layer",
        "head_norm": "layer",
        "mask_norm": "layer",
        "drop_path": 0.1,
    },
    "diffusion": {
        **_CONVOLVED_BOXES,
        "jitter": "none",
        "short_side": 512,
        "long_side": 512,
        "head_norm": "layer",
    },
}
"""ResNet, ConvNeXt, SwinV2, MiDaS; the ViTs (ViTDet's recipe); Stable Diffusion."""

BOB_2023: Mapping[str, Any] = {
    "detector": "cascade-mask-rcnn",
    "epochs": 36,
    "global_batch": 16,
    "optimiser": "adamw",
    "learning_rate": 1e-4,
    "schedule": "steps",
    "milestones": (27, 33),
    "warmup_iterations": 1000,
    "warmup_learning_rate": 1e-7,
    "minimum_learning_rate": 0.0,
    "weight_decay": 0.05,
    "decay_vectors": True,
    "layer_decay": 1.0,
    "batch_norm": "frozen",
    "trials": 4,
    "search": "grid",
    "space": {"learning_rate": (8e-5, 2e-4, 3e-4)},
    "by_pyramid": BOB_2023_BY_PYRAMID,
}

LIGHT: Mapping[str, Any] = {
    "epochs": 12,
    "milestones": (8, 11),
    "jitter": "short-side",
    "short_side": 512,
    "long_side": 853,
    "short_sides": tuple(range(384, 513, 32)),
}
"""The field's schedule of twelve epochs ("1x") at a little over half of its resolution, for one GPU."""

PRESETS: Mapping[str, Mapping[str, Any]] = {"fair": {}, "light": LIGHT, "bob2023": BOB_2023}
