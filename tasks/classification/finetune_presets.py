"""Fine-tuning recipes by name: those of the 2023 study as published, beside the task's own short one.

What the study did and these do not: it kept the epoch that was best on the images it then reported, and these report
the last one; it normalised some backbones wrongly, and here preprocessing belongs to the weights. It computed in
float16 (``--precision float16`` does so here), and its ViT-L ran 50 epochs (``epochs: 50``).
"""

from collections.abc import Mapping
from typing import Any

_MIXED = {
    "rand_augment": "rand-m9-mstd0.5-inc1",
    "mixup": 0.8,
    "cutmix": 1.0,
    "erasing": 0.25,
    "interpolation": "random",
    "crop_scale": (0.08, 1.0),
    "label_smoothing": 0.1,
}
_ONE_TRIAL = {"trials": 1, "space": {}, "head": "xavier", "batch_norm": "batch"}

BOB_2023: Mapping[str, Any] = {
    **_ONE_TRIAL,
    **_MIXED,
    "epochs": 100,
    "global_batch": 1024,
    "learning_rate": 1e-3,
    "schedule": "cosine_by_epoch",
    "warmup_epochs": 5,
    "warmup_learning_rate": 1e-4,
    "minimum_learning_rate": 1e-6,
    "weight_decay": 0.05,
    "layer_decay": 0.75,
    "drop_path": 0.1,
}
"""End-to-end fine-tuning (``train.py``; Goldblum et al. 2023)."""

BOB_2023_LOW_DATA: Mapping[str, Any] = {
    **BOB_2023,
    "epochs": 60,
    "global_batch": 512,
    "learning_rate": 2.5e-4,
    "layer_decay": 0.65,
}
"""ImageNet 1 % and 10 % (``train_semi.py``): the only setting that is documented, that of Stable Diffusion."""

BOB_2023_CHEXPERT: Mapping[str, Any] = {
    **_ONE_TRIAL,
    "epochs": 100,
    "global_batch": 1024,
    "learning_rate": 1e-3,
    "schedule": "cosine_by_epoch",
    "warmup_epochs": 10,
    "minimum_learning_rate": 1e-5,
    "weight_decay": 1e-3,
    "layer_decay": 0.75,
    "drop_path": 0.2,
    "label_smoothing": 0.0,
    "rand_augment": "rand-m6-mstd0.5-inc1",
    "crop_scale": (0.08, 1.0),
}
"""CheXpert (``medical_chexpert``): no mixing, no erasing."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "light": {},
    "bob2023": BOB_2023,
    "bob2023-low-data": BOB_2023_LOW_DATA,
    "bob2023-chexpert": BOB_2023_CHEXPERT,
}
