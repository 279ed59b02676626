"""Published recipes by name, as far as the papers state them; none was run here at its length."""

from collections.abc import Mapping
from typing import Any

_CONSTANT = {"warmup_epochs": 0, "layer_decay": 1.0, "head": "xavier", "batch_norm": "batch"}

SEMIXUP: Mapping[str, Any] = {
    **_CONSTANT,
    "method": "semixup",
    "epochs": 500,
    "global_batch": 20,
    "learning_rate": 1e-4,
    "minimum_learning_rate": 1e-4,
    "weight_decay": 0.0,
}
"""Nguyen et al. 2020: Adam at 1e-4 throughout, 20 labelled images a step; an epoch of theirs passes the labels once."""

FIXMATCH: Mapping[str, Any] = {
    **_CONSTANT,
    "method": "fixmatch",
    "epochs": 1342,
    "global_batch": 64,
    "optimiser": "sgd",
    "nesterov": True,
    "learning_rate": 0.03,
    "minimum_learning_rate": 0.0058,
    "weight_decay": 5e-4,
    "average_decay": 0.999,
}
"""Sohn et al. 2020, CIFAR-10: 2^20 steps of 64, of 50,000 images 1,342 epochs; the rate ends at its cos(7 pi / 16)."""

MIXMATCH: Mapping[str, Any] = {
    **_CONSTANT,
    "method": "mixmatch",
    "settings": {"ramp_up": 0.0153},
    "epochs": 1342,
    "global_batch": 64,
    "learning_rate": 0.002,
    "minimum_learning_rate": 0.002,
    "weight_decay": 0.02,
    "average_decay": 0.999,
}
"""Berthelot et al. 2019, CIFAR-10: Adam at .002, weights decay by 4e-5 a step, lambda_u grows for 16,000 steps."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "light": {},
    "semixup-2020": SEMIXUP,
    "fixmatch-cifar": FIXMATCH,
    "mixmatch-cifar": MIXMATCH,
}
