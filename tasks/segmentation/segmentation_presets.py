"""Recipes for segmentation by name, beside the task's own short one for a linear head over a frozen backbone."""

from collections.abc import Mapping
from typing import Any

UPERNET: Mapping[str, Any] = {
    "head": "upernet",
    "train": "end-to-end",
    "learning_rate": 3e-4,
    "weight_decay": 0.05,
    "layer_decay": 0.75,
    "drop_path": 0.1,
    "space": {"learning_rate": (1e-4, 1e-3, 3e-3)},
}
"""The whole network for as long as ``light``, with fine-tuning's rates."""

DINOV2: Mapping[str, Any] = {
    "epochs": 32,
    "learning_rate": 1e-3,
    "warmup_epochs": 1.2,
    "minimum_learning_rate": 0.0,
    "weight_decay": 1e-4,
    "trials": 1,
    "space": {},
}
"""The linear evaluation of Oquab et al. (2023) on ADE20K: 40,000 steps of 16 crops of 512 pixels, AdamW.

Ours differs: the rate falls along a cosine where theirs falls linearly; the BatchNorm before their classifier is the
fixed standardisation of ``Standardised``; colours are not distorted; images are judged whole, not in windows.
"""

PRESETS: Mapping[str, Mapping[str, Any]] = {"light": {}, "upernet": UPERNET, "dinov2": DINOV2}
