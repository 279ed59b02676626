"""Recipes of detection out of distribution by name: those of detection, and the 2023 study's of Sim10k to Cityscapes.

What went wrong in that study (Goldblum et al. 2023; its 56 configurations) is not repeated. Its 18 ViT configurations
lost the optimiser in a merge and trained by SGD at AdamW's rate, 1e-4; here AdamW trains all. In the 38 others
replacing the three heads of the cascade dropped the box-coding deviations of the later stages; here each has its own.
Random-initialised ResNets kept BatchNorm at the statistics 0 and 1 and, in one variant, an untrained stem; here
``batch_norm: batch`` is to be given with such a twin, and everything is trained. Its other facts: all families are
jittered to 1024 x 1024 and tested at 1024 x 512, with one learning rate and nothing searched. The number of GPUs is
not recorded (two images each; here 16 in all).
"""

from collections.abc import Mapping
from typing import Any

from tasks.detection import detection_presets
from tasks.detection.detection_presets import BOB_2023, Pyramid

SIM10K_BY_PYRAMID: Mapping[Pyramid, Mapping[str, Any]] = {
    "one-stride": {
        "box_convolutions": 4,
        "rpn_convolutions": 2,
        "rpn_norm": "layer",
        "head_norm": "layer",
        "drop_path": 0.1,
    },
}
"""ViTs have ViTDet's heads, all others two linear layers; smooth L1 for all. There was no diffusion model."""

SIM10K: Mapping[str, Any] = {
    **BOB_2023,
    "detector": "cascade-rcnn",
    "jitter": "large-scale",
    "short_side": 1024,
    "long_side": 1024,
    "scales": (0.1, 2.0),
    "trials": 1,
    "space": {},
    "by_pyramid": SIM10K_BY_PYRAMID,
}

PRESETS: Mapping[str, Mapping[str, Any]] = {**detection_presets.PRESETS, "bob2023": SIM10K}
